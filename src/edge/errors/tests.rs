use super::*;

#[test]
fn every_kind_is_an_error_with_a_slug_of_its_own() {
    let mut slugs = std::collections::BTreeSet::new();
    for kind in kinds::ALL {
        assert!((400..600).contains(&kind.status), "{kind:?}");
        assert!(slugs.insert(kind.slug), "{kind:?} is there twice");
        assert!(StatusCode::from_u16(kind.status).is_ok(), "{kind:?}");
    }
}

#[test]
fn a_document_has_the_members_of_rfc_9457_and_ours() {
    let phase = Refusal::WrongPhase { phase: Phase::Paused, advice: "resume it first" };
    assert_eq!(
        Problem::from(phase).document(),
        json!({
            "type": "https://sandtree.dev/problems/wrong-phase",
            "title": "the project is not in a phase in which this works",
            "status": 409,
            "detail": "the project is paused; resume it first",
            "phase": "paused",
        })
    );
    let large = Refusal::TooLarge { what: "the body".into(), limit: 7 };
    let document = Problem::from(large).document();
    assert_eq!((&document["limit"], &document["status"]), (&json!(7), &json!(413)));
    let invalid = Problem::from(Refusal::invalid("limits.pids", "must be from 8 to 65536, not 1"));
    assert_eq!(invalid.document()["field"], "limits.pids");
}

#[test]
fn a_client_that_may_try_again_is_told_when() {
    let away = Problem::from(Fault::EngineAway("connection refused".into())).into_response();
    assert_eq!(away.status(), 503);
    assert_eq!(away.headers()[RETRY_AFTER], "5");
    let busy = Problem::from(Refusal::Busy { what: "64 commands".into() }).into_response();
    assert_eq!(
        (busy.status().as_u16(), &busy.headers()[RETRY_AFTER]),
        (429, &"1".parse().unwrap())
    );
    let gone = Problem::from(Refusal::not_found("project \"a\"")).into_response();
    assert!(!gone.headers().contains_key(RETRY_AFTER));
    assert_eq!(gone.headers()[CONTENT_TYPE], "application/problem+json");
}

#[test]
fn paths_of_the_host_stay_in_the_log() {
    let disk = Problem::from(Fault::Disk("/var/lib/sandtree/x: no space left".into()));
    assert!(!disk.document().to_string().contains("/var"), "{disk:?}");
}

#[test]
fn a_missing_key_is_challenged_and_a_wrong_method_is_told_the_right_ones() {
    let missing = Problem::new(kinds::UNAUTHORIZED, "no key").into_response();
    assert!(missing.headers().contains_key(WWW_AUTHENTICATE));
    let wrong = Problem::method_not_allowed("PUT", "GET, HEAD".to_owned()).into_response();
    assert_eq!(wrong.headers()[ALLOW], "GET, HEAD");
}
