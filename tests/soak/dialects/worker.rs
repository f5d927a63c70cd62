//! A client at work.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::future::Future;

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use sandtree_testkit::{Client, LONG, within};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;

use super::shared::PROJECTS;
use super::token::Token;
use crate::socket::Socket;

/// How often that which is done often is done for each time of that which is done seldom.
const OFTEN: usize = 8;

/// What the clients of one dialect do.
pub(crate) trait Acts: Copy + Debug + Send + 'static {
    /// What takes a moment.
    const OFTEN: &'static [Self];
    /// What makes or removes a container.
    const SELDOM: &'static [Self];

    /// Does it and looks at what comes back.
    fn perform(self, worker: &mut Worker) -> impl Future<Output = ()> + Send;

    /// Removes what the client still has.
    fn leave(_worker: &mut Worker) -> impl Future<Output = ()> + Send {
        async {}
    }
}

/// One client, and what it knows.
pub(crate) struct Worker {
    pub(crate) client: Client,
    /// Nobody else has this name.
    pub(crate) name: String,
    /// Its session, in dialects that have sessions.
    pub(crate) session: Option<String>,
    dialect: &'static str,
    rng: StdRng,
    said: u64,
}

/// What a client has done.
pub(crate) struct Done {
    pub(crate) dialect: &'static str,
    pub(crate) acts: BTreeMap<String, u64>,
}

impl Worker {
    pub(crate) fn new(client: &Client, dialect: &'static str, nth: usize, rng: StdRng) -> Self {
        let (client, name) = (client.clone(), format!("{dialect}-{nth}"));
        Self { client, name, session: None, dialect, rng, said: 0 }
    }

    /// Something that it has never said before, for a place.
    pub(crate) fn token(&mut self, place: &str) -> Token {
        self.said += 1;
        Token::new(place, &self.name, self.said)
    }

    /// A name for a project of its own.
    pub(crate) fn own_project(&mut self) -> String {
        self.said += 1;
        format!("{}-{}", self.name, self.said)
    }

    /// One of the shared projects.
    pub(crate) fn shared_project(&mut self) -> &'static str {
        PROJECTS.choose(&mut self.rng).expect("there are some")
    }

    /// The name of its own file in a shared project.
    pub(crate) fn own_file(&self) -> String {
        format!("own-{}.txt", self.name)
    }
}

/// Does everything again and again in another order, until the time is over.
pub(crate) async fn work<A: Acts>(mut worker: Worker, ends: Instant) -> Done {
    let mut acts = [A::OFTEN.repeat(OFTEN), A::SELDOM.to_vec()].concat();
    let mut done = BTreeMap::new();
    loop {
        acts.shuffle(&mut worker.rng);
        for act in &acts {
            act.perform(&mut worker).await;
            *done.entry(format!("{act:?}").to_lowercase()).or_default() += 1;
        }
        if Instant::now() >= ends {
            A::leave(&mut worker).await;
            return Done { dialect: worker.dialect, acts: done };
        }
    }
}

/// Reads from a terminal until it said the token, which it says when it is told to by
/// `keys`. `output` is what a message says of the screen.
pub(crate) async fn echoes(
    socket: &mut Socket,
    token: &Token,
    keys: impl Into<Message>,
    output: fn(&Message) -> Vec<u8>,
) {
    socket.send(keys).await;
    let mut heard = Vec::new();
    let read = async {
        while !token.is_in(&String::from_utf8_lossy(&heard)) {
            let message = socket.next().await;
            assert!(!message.is_close(), "closed before {token:?}: {message:?}");
            heard.extend(output(&message));
        }
    };
    within(2 * LONG, token.text(), read).await;
}
