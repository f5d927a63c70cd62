//! What clients say, so that it can be told whose it is and where it was said.

/// Something that is said once, by one client, in one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    place: String,
    text: String,
}

impl Token {
    /// The token of a client's so many-th word in a project or session.
    pub(crate) fn new(place: &str, client: &str, nth: u64) -> Self {
        Self { place: place.to_owned(), text: format!("tok.{place}.{client}.{nth}.") }
    }

    /// As it is said.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// A shell's command that says it, without saying it when it is typed.
    pub(crate) fn echo(&self) -> String {
        format!("echo to''k{}", &self.text["tok".len()..])
    }

    /// Whether a text has it and nothing that was said in another place.
    ///
    /// # Panics
    ///
    /// When it has.
    pub(crate) fn is_in(&self, text: &str) -> bool {
        let strangers = strangers(text, &self.place);
        assert!(strangers.is_empty(), "{strangers:?} was heard in {}: {text}", self.place);
        text.contains(&self.text)
    }
}

/// Tokens in a text that were said elsewhere than in this place.
pub(crate) fn strangers<'a>(text: &'a str, place: &str) -> Vec<&'a str> {
    let places = text.split("tok.").skip(1).filter_map(|rest| {
        let (place, rest) = rest.split_once('.')?;
        // What has no end yet may be another place's name.
        rest.contains('.').then_some(place)
    });
    places.filter(|found| *found != place).collect()
}

#[test]
fn a_token_of_another_place_is_a_stranger() {
    let here = Token::new("demo-1", "builder-0", 7);
    assert!(here.is_in("$ echo to''k.demo-1\r\ntok.demo-1.builder-0.7.\r\n"));
    assert!(!here.is_in("tok.demo-1.native-8.7. tok.demo-1.builder-0.70."));
    assert!(!here.echo().contains(here.text()));
    let text = "tok.demo-1.a.1. tok.demo-10.b.2.\r\ntok.demo-2.c.3. tok.dem";
    assert_eq!(strangers(text, "demo-1"), ["demo-10", "demo-2"]);
}
