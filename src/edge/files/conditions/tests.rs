use sandtree_workspace::Kind;

use super::*;

/// 2023-11-14T22:13:20.5Z.
fn entry() -> Entry {
    Entry {
        name: "a".to_owned(),
        name_is_lossy: false,
        kind: Kind::File,
        size: 10,
        mode: 0o644,
        modified: SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_500),
        etag: Etag::new("tag-1"),
        link_target: None,
    }
}

const THEN: &str = "Tue, 14 Nov 2023 22:13:20 GMT";
const BEFORE: &str = "Tue, 14 Nov 2023 22:13:19 GMT";

#[test]
fn one_range_of_bytes_is_a_part() {
    let part_of = |from, length| Verdict::Part { from, length };
    for (range, verdict) in [
        ("bytes=0-0", part_of(0, 1)),
        ("bytes=2-4", part_of(2, 3)),
        ("Bytes= 2-4", part_of(2, 3)),
        ("bytes=5-", part_of(5, 5)),
        ("bytes=5-99", part_of(5, 5)),
        ("bytes=-3", part_of(7, 3)),
        ("bytes=-99", part_of(0, 10)),
        ("bytes=0-18446744073709551615", part_of(0, 10)),
        ("bytes=0-99999999999999999999999", part_of(0, 10)),
        ("bytes=10-", Verdict::Unsatisfiable),
        ("bytes=99999999999999999999999-", Verdict::Unsatisfiable),
        ("bytes=-0", Verdict::Unsatisfiable),
        ("bytes=4-2", Verdict::Whole),
        ("bytes=0-1,3-4", Verdict::Whole),
        ("bytes=a-b", Verdict::Whole),
        ("bytes=-", Verdict::Whole),
        ("bytes=+1-2", Verdict::Whole),
        ("lines=1-2", Verdict::Whole),
        ("", Verdict::Whole),
    ] {
        assert_eq!(part(range, 10), verdict, "{range}");
    }
    assert_eq!(part("bytes=0-", 0), Verdict::Unsatisfiable);
    assert_eq!(part("bytes=-1", 0), Verdict::Unsatisfiable);
}

#[test]
fn tags_are_read_with_their_weakness() {
    let tag = |is_weak, text: &str| Tag { is_weak, text: text.to_owned() };
    assert_eq!(parse_tags(" * "), Some(Tags::Any));
    assert_eq!(
        parse_tags(r#""a", W/"b,c" ,"""#),
        Some(Tags::List(vec![tag(false, "a"), tag(true, "b,c"), tag(false, "")]))
    );
    for bad in ["", "a", "\"a", "\"a\" \"b\"", "\"a\",", "w/\"a\"", "*, \"a\""] {
        assert_eq!(parse_tags(bad), None, "{bad}");
    }
    assert_eq!(parse_tags(&vec!["\"a\""; TAGS_MAX + 1].join(",")), None);
}

#[test]
fn conditions_are_judged_in_their_order() {
    let date = |text| Some(httpdate::parse_http_date(text).unwrap());
    let tags = |text| Some(parse_tags(text).unwrap());
    let none = Conditions::default;
    let rows = [
        (none(), Verdict::Whole),
        (Conditions { if_match: tags("\"tag-1\""), ..none() }, Verdict::Whole),
        (Conditions { if_match: tags("W/\"tag-1\""), ..none() }, Verdict::Failed),
        (Conditions { if_match: tags("\"x\""), ..none() }, Verdict::Failed),
        (Conditions { if_unmodified_since: date(BEFORE), ..none() }, Verdict::Failed),
        (Conditions { if_unmodified_since: date(THEN), ..none() }, Verdict::Whole),
        (Conditions { if_none_match: tags("W/\"tag-1\""), ..none() }, Verdict::NotModified),
        (Conditions { if_modified_since: date(THEN), ..none() }, Verdict::NotModified),
        (Conditions { if_modified_since: date(BEFORE), ..none() }, Verdict::Whole),
        // A tag is stronger than a date.
        (
            Conditions { if_none_match: tags("\"x\""), if_modified_since: date(THEN), ..none() },
            Verdict::Whole,
        ),
        (
            Conditions { if_match: tags("\"x\""), if_none_match: tags("*"), ..none() },
            Verdict::Failed,
        ),
    ];
    for (conditions, verdict) in rows {
        assert_eq!(conditions.verdict(&entry()), verdict, "{conditions:?}");
    }
}

#[test]
fn a_range_counts_only_for_the_file_that_the_client_knows() {
    for (if_range, applies) in [
        (None, true),
        (Some("\"tag-1\""), true),
        (Some("W/\"tag-1\""), false),
        (Some("\"tag-2\""), false),
        (Some(THEN), true),
        (Some(BEFORE), false),
        (Some("nonsense"), false),
    ] {
        let conditions = Conditions {
            if_range: if_range.map(str::to_owned),
            range: Some("bytes=1-1".to_owned()),
            ..Conditions::default()
        };
        let part = Verdict::Part { from: 1, length: 1 };
        let expected = if applies { part } else { Verdict::Whole };
        assert_eq!(conditions.verdict(&entry()), expected, "{if_range:?}");
    }
}

#[test]
fn a_write_has_one_condition() {
    let etag = |text: &str| Precondition::IfMatch(Etag::new(text));
    assert_eq!(if_match("if_match", "\"a\"").unwrap(), etag("a"));
    assert_eq!(if_match("if_match", "*").unwrap(), Precondition::IfMatchAny);
    assert_eq!(if_match("if_match", "W/\"a\"").unwrap(), etag("W/"));
    for bad in ["a", "\"a\", \"b\"", ""] {
        assert_eq!(if_match("if_match", bad).unwrap_err().document()["field"], "if_match");
    }
}
