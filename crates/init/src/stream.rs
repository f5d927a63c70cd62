//! Streams: one connection each, dialled because the server asked for it.

use std::rc::Rc;

use sandtree_wire::write_message;
use sandtree_wire::{
    AttachEvent, DialEvent, ExecEvent, FrameError, StartError, Stream, WatchEvent,
};
use tokio::net::UnixStream;
use tokio::task::spawn_local;

use crate::init::Init;
use crate::{attach, dial, exec, home, sys, watch};

/// Most streams at once.
const STREAMS_MAX: u32 = 1024;

/// Opens a stream. Above the limit it is opened only to say so, and the next
/// request waits for that.
pub(crate) async fn open(init: &Rc<Init>, id: u64, stream: Stream) {
    let Some(counted) = init.streams.take(STREAMS_MAX) else {
        let _ = refuse(init, id, &stream).await;
        return;
    };
    let init = Rc::clone(init);
    spawn_local(async move {
        // A failed stream has told its server what it could; there is nobody else.
        if let Ok(connection) = home::dial_stream(&init, id).await {
            let _ = serve(&init, connection, stream).await;
        }
        drop(counted);
        if init.streams.get() == 0 {
            sys::trim_memory();
        }
    });
}

async fn serve(init: &Rc<Init>, connection: UnixStream, stream: Stream) -> Result<(), FrameError> {
    match stream {
        Stream::Exec(spec) => exec::serve(init, connection, &spec).await,
        Stream::Attach { job, epoch, from } => {
            let job = init.job(job).filter(|job| job.epoch() == epoch && !job.forgotten());
            attach::serve(connection, job, from).await
        }
        Stream::Dial { port, hand_over } => dial::serve(connection, port, hand_over).await,
        Stream::Watch(spec) => watch::serve(connection, spec).await,
    }
}

async fn refuse(init: &Init, id: u64, stream: &Stream) -> Result<(), FrameError> {
    let mut connection = home::dial_stream(init, id).await?;
    let what = format!("open a stream: {STREAMS_MAX} are open already");
    let error = StartError { errno: libc::EMFILE, what };
    match stream {
        Stream::Exec(_) => write_message(&mut connection, &ExecEvent::Failed(error)).await,
        Stream::Attach { .. } => write_message(&mut connection, &AttachEvent::Unknown).await,
        Stream::Dial { .. } => write_message(&mut connection, &DialEvent::Failed(error)).await,
        Stream::Watch(_) => write_message(&mut connection, &WatchEvent::Failed(error)).await,
    }
}
