//! What follows an upgrade: bytes both ways, for as long as somebody says something.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use crate::edge::idle::LastSeen;

/// Longest silence on a tunnel.
pub(super) const IDLE_MAX: Duration = Duration::from_secs(3600);
/// Longest silence after one side has said its last.
pub(super) const LINGER_MAX: Duration = Duration::from_secs(30);
/// Bytes on their way, for each direction.
const BUFFER_BYTES: usize = 16 * 1024;

/// Carries bytes both ways until both sides have ended, one breaks, nothing was said for
/// too long, or the server ends. Both are closed when this returns.
pub(super) async fn carry<A, B>(client: A, sandbox: B, shutdown: &CancellationToken)
where
    A: AsyncRead + AsyncWrite,
    B: AsyncRead + AsyncWrite,
{
    let seen = LastSeen::now();
    let (client_reader, client_writer) = tokio::io::split(client);
    let (sandbox_reader, sandbox_writer) = tokio::io::split(sandbox);
    let up = copy(client_reader, sandbox_writer, &seen);
    let down = copy(sandbox_reader, client_writer, &seen);
    tokio::select! {
        () = both(up, down, &seen) => {}
        () = seen.silent_for(IDLE_MAX) => {}
        () = shutdown.cancelled() => {}
    }
}

/// Waits for both directions; for the second one only while it is used.
async fn both(
    up: impl Future<Output = std::io::Result<()>>,
    down: impl Future<Output = std::io::Result<()>>,
    seen: &LastSeen,
) {
    let (mut up, mut down) = (std::pin::pin!(up), std::pin::pin!(down));
    let up_is_first = tokio::select! {
        ended = &mut up => ended.is_ok().then_some(true),
        ended = &mut down => ended.is_ok().then_some(false),
    };
    let rest = async {
        // An error there ends it as well.
        let _ = match up_is_first {
            Some(true) => down.await,
            Some(false) => up.await,
            None => Ok(()),
        };
    };
    tokio::select! {
        () = rest => {}
        () = seen.silent_for(LINGER_MAX) => {}
    }
}

async fn copy<R, W>(reader: R, writer: W, seen: &LastSeen) -> std::io::Result<()>
where
    R: AsyncRead,
    W: AsyncWrite,
{
    let (mut reader, mut writer) = (std::pin::pin!(reader), std::pin::pin!(writer));
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let count = reader.read(&mut buffer).await?;
        seen.touch();
        if count == 0 {
            return writer.shutdown().await;
        }
        writer.write_all(&buffer[..count]).await?;
        writer.flush().await?;
        seen.touch();
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_side_that_has_ended_still_gets_the_answer_but_not_for_ever() {
        let (mut client, ours) = duplex(64);
        let (theirs, mut sandbox) = duplex(64);
        let shutdown = CancellationToken::new();
        let begun = Instant::now();
        let talk = async {
            client.write_all(b"question").await.unwrap();
            client.shutdown().await.unwrap();
            let mut question = [0; 8];
            sandbox.read_exact(&mut question).await.unwrap();
            assert_eq!(sandbox.read(&mut question).await.unwrap(), 0);
            sandbox.write_all(b"answer").await.unwrap();
            let mut answer = [0; 6];
            client.read_exact(&mut answer).await.unwrap();
            // The sandbox does not end; the tunnel does.
            assert_eq!(client.read(&mut answer).await.unwrap(), 0);
        };
        tokio::join!(carry(ours, theirs, &shutdown), talk);
        assert_eq!(begun.elapsed().as_secs(), LINGER_MAX.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn silence_and_the_end_of_the_server_end_it() {
        let (_client, ours) = duplex(64);
        let (theirs, _sandbox) = duplex(64);
        let begun = Instant::now();
        carry(ours, theirs, &CancellationToken::new()).await;
        assert_eq!(begun.elapsed().as_secs(), IDLE_MAX.as_secs());

        let (_client, ours) = duplex(64);
        let (theirs, _sandbox) = duplex(64);
        let shutdown = CancellationToken::new();
        shutdown.cancel();
        carry(ours, theirs, &shutdown).await;
    }
}
