//! Homes with an init that is written out by hand.

use std::io::{ErrorKind, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use sandtree_wire::{Numbered, Request, SOCKET_NAME, Stream, read_message};
use tempfile::TempDir;
use tokio::time::Instant;

use super::*;
use crate::disk::lingering::Lingering;

/// More than a stream's asker waits for it.
const LONG: Duration = Duration::from_secs(60);

const BOUNDS: HomeBounds = HomeBounds { requests_max: 16, owed_max: 16, closing_max: 64 };

/// An open home, and a sandbox that was given its token.
struct Place {
    dir: TempDir,
    home: Home,
    token: String,
    _news: HomeNews,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let (home, news) = Home::open(dir.path(), BOUNDS).expect("a home");
        let mut place = Self { dir, home, token: String::new(), _news: news };
        place.start();
        place
    }

    /// A sandbox is started here: it has read a token that is new.
    fn start(&mut self) {
        self.home.renew_token((0, 0)).expect("a token");
        let path = self.dir.path().join("home").join(TOKEN_NAME);
        self.token = fs::read_to_string(path).expect("the token");
    }

    async fn dial(&self, role: Role) -> io::Result<UnixStream> {
        let path = self.dir.path().join("home").join(SOCKET_NAME);
        let mut connection = UnixStream::connect(path).await?;
        let hello = Hello { version: VERSION, token: self.token.clone(), role };
        write_message(&mut connection, &hello).await.expect("a hello");
        Ok(connection)
    }

    /// A link, and the end of its connection that is init's.
    async fn link(&self) -> (Arc<Link>, UnixStream) {
        let mut control = self.dial(Role::Control).await.expect("an open door");
        let _: Welcome = read_message(&mut control, &mut Vec::new()).await.expect("a welcome");
        (self.home.link().await.expect("a link"), control)
    }

    async fn is_shut(&self) -> bool {
        let dialled = self.dial(Role::Stream(0)).await;
        dialled.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    }

    async fn until_shut(&self) {
        let shut = self.home.shared.door.until(false);
        tokio::time::timeout(LONG, shut).await.expect("a door that is shut");
    }

    /// The number of a stream that init is asked for.
    async fn asked_for(control: &mut UnixStream) -> u64 {
        let asked = read_message(control, &mut Vec::new()).await.expect("a request");
        let Numbered { id, body: Request::Open(_) } = asked else { panic!("{asked:?}") };
        id
    }

    /// Does what init does: dials whatever stream is asked for.
    async fn serve(&self, mut control: UnixStream) -> std::convert::Infallible {
        loop {
            let id = Self::asked_for(&mut control).await;
            drop(self.dial(Role::Stream(id)).await.expect("an open door"));
        }
    }
}

const STREAM: Stream = Stream::Dial { port: 1, hand_over: false };

#[tokio::test(start_paused = true)]
async fn the_door_is_shut_on_a_linked_sandbox_that_nobody_works_in() {
    let place = Place::new();
    assert!(!place.is_shut().await, "init is to come");
    let (link, mut control) = place.link().await;
    place.until_shut().await;
    assert!(place.is_shut().await);

    let asking = async {
        link.open(STREAM).await.expect("a stream");
        Instant::now()
    };
    let dialling = async {
        let id = Place::asked_for(&mut control).await;
        place.dial(Role::Stream(id)).await.expect("an open door")
    };
    let (asked, _stream) = tokio::join!(asking, dialling);
    assert!(!place.is_shut().await, "another stream may be asked for");
    place.until_shut().await;
    assert!(asked.elapsed() >= Duration::from_secs(4), "{:?}", asked.elapsed());
    assert!(!link.is_closed());
}

#[tokio::test(start_paused = true)]
async fn the_door_is_not_shut_on_a_stream_that_is_owed() {
    let place = Place::new();
    let (link, mut control) = place.link().await;
    place.until_shut().await;
    let dialling = async {
        let id = Place::asked_for(&mut control).await;
        tokio::time::sleep(Duration::from_secs(9)).await;
        place.dial(Role::Stream(id)).await.expect("an open door")
    };
    let (opened, _stream) = tokio::join!(link.open(STREAM), dialling);
    opened.expect("the stream, as late as it was");
    place.until_shut().await;
}

#[tokio::test(start_paused = true)]
async fn the_door_is_open_again_when_the_link_is_lost_or_the_sandbox_started() {
    let mut place = Place::new();
    let (link, control) = place.link().await;
    place.until_shut().await;
    drop(control);
    link.ended().await;
    place.home.shared.door.until(true).await;
    let (_, control) = place.link().await;
    place.until_shut().await;
    place.start();
    assert!(!place.is_shut().await, "the next init is to come");
    // The one before may be there still.
    let (_, _control) = place.link().await;
    drop(control);
    place.until_shut().await;
}

#[tokio::test]
async fn whoever_holds_a_link_cannot_take_the_name_from_the_next_home() {
    let place = Place::new();
    let (link, control) = place.link().await;
    place.until_shut().await;
    let Place { dir, home, token, _news } = place;
    drop(home);
    let (home, _news) = Home::open(dir.path(), BOUNDS).expect("the next home");
    let place = Place { dir, home, token, _news };
    link.open(STREAM).await.expect_err("a stream of a home that is gone");
    drop(control);
    let (_, _control) = place.link().await;
}

/// Who asks for streams at once, and how often each.
const ASKERS: usize = 3;
const ROUNDS: usize = 500;

#[tokio::test(flavor = "multi_thread")]
async fn no_stream_is_lost_however_often_the_door_is_shut() {
    let place = Place::new();
    let (link, control) = place.link().await;
    let (door, links) = (Arc::clone(&place.home.shared.door), place.home.shared.link.subscribe());
    let (shut, mut askers) = (Arc::new(AtomicU64::new(0)), JoinSet::new());
    for _ in 0..ASKERS {
        let (door, links) = (Arc::clone(&door), links.clone());
        let (link, shut) = (Arc::clone(&link), Arc::clone(&shut));
        askers.spawn(async move {
            for _ in 0..ROUNDS {
                door.shut(&links);
                shut.fetch_add(u64::from(!door.is_open()), Ordering::Relaxed);
                link.open(STREAM).await.expect("a stream");
            }
        });
    }
    let shutting = tokio::spawn(async move {
        loop {
            door.until(true).await;
            door.shut(&links);
        }
    });
    let asking = async {
        while let Some(asked) = askers.join_next().await {
            asked.expect("all streams of one asker");
        }
    };
    tokio::select! {
        () = asking => {}
        never = place.serve(control) => match never {},
    }
    shutting.abort();
    assert!(shut.load(Ordering::Relaxed) > 0, "it was never shut");
}

/// What strangers say first, with a descriptor that comes along.
const SAYINGS: [(&str, &[u8]); 4] = [
    ("nothing of sense", b"x"),
    ("the beginning of a hello", &[0, 100, 0, 0, 0, b'{']),
    ("a hello that is too long", &[0, 0, 0, 1, 0, b'{']),
    ("a false hello", b"\0\x2a\0\0\0{\"version\":1,\"token\":\"0\",\"role\":\"control\"}"),
];

/// A stranger at this door, who says this and sends a socket along that nobody else has
/// by the time it is looked at.
fn stranger(lingering: &mut Lingering, dir: &Path, says: &[u8]) -> StdStream {
    let along = lingering.socket();
    lingering.meanwhile(move || dial_with(dir, says, &along))
}

fn dial_with(dir: &Path, says: &[u8], along: &OwnedFd) -> StdStream {
    let connection = StdStream::connect(dir.join("home").join(SOCKET_NAME)).expect("an open door");
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let along = [along.as_fd()];
    assert!(control.push(SendAncillaryMessage::ScmRights(&along)));
    let sent =
        sendmsg(&connection, &[IoSlice::new(says)], &mut control, SendFlags::empty()).unwrap();
    assert_eq!(sent, says.len());
    connection
}

/// That something is being closed, and not by the thread that does everything.
fn assert_closed_aside(lingering: &Lingering, door: Arc<Door>, what: &str) {
    let closing = async move {
        while !door.has_waste() {
            tokio::task::yield_now().await;
        }
    };
    assert!(lingering.ends(closing), "{what}");
    assert!(lingering.ends(async {}), "{what}");
}

#[test]
fn what_strangers_send_along_is_closed_where_it_holds_up_nobody() {
    for (what, says) in SAYINGS {
        let mut lingering = Lingering::new();
        let place = lingering.runtime().block_on(async { Place::new() });
        let _stranger = stranger(&mut lingering, place.dir.path(), says);
        assert_closed_aside(&lingering, Arc::clone(&place.home.shared.door), what);
        // Nor does it keep init from coming.
        let linked = async move { drop(place.link().await) };
        assert!(lingering.ends(linked), "{what}");
    }
}

#[test]
fn a_stranger_without_a_place_is_closed_aside() {
    let mut lingering = Lingering::new();
    let place = lingering.runtime().block_on(async { Place::new() });
    let path = place.dir.path().join("home").join(SOCKET_NAME);
    let silent = || StdStream::connect(&path).expect("an open door");
    let _silent: Vec<_> = (0..UNPROVEN_MAX).map(|_| silent()).collect();
    let _stranger = stranger(&mut lingering, place.dir.path(), b"x");
    assert_closed_aside(&lingering, Arc::clone(&place.home.shared.door), "no place");
}

#[test]
fn a_home_that_ends_closes_its_strangers_aside() {
    let mut lingering = Lingering::new();
    let place = lingering.runtime().block_on(async { Place::new() });
    let door = Arc::clone(&place.home.shared.door);
    let _strangers: Vec<_> = (0..UNPROVEN_MAX * 2)
        .map(|_| StdStream::connect(place.dir.path().join("home").join(SOCKET_NAME)))
        .collect();
    let _stranger = stranger(&mut lingering, place.dir.path(), b"x");
    assert!(lingering.ends(async move { drop(place) }));
    assert_closed_aside(&lingering, door, "the home's end");
}
