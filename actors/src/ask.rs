//! Asking an actor, with its ways of not answering turned into faults.

use std::time::Duration;

use ractor::rpc::CallResult;
use ractor::{ActorRef, Message, RpcReplyPort};
use sandtree_model::{Answer, Fault};

/// Sends a message with a reply port and waits for the reply.
///
/// # Errors
///
/// [`Fault::TimedOut`] after `timeout`, and [`Fault::Internal`] when the actor is
/// gone: it is being restarted, or the server shuts down.
pub(crate) async fn ask<M, T>(
    actor: &ActorRef<M>,
    timeout: Duration,
    message: impl FnOnce(RpcReplyPort<T>) -> M,
) -> Answer<T>
where
    M: Message,
    T: Send + 'static,
{
    match actor.call(message, Some(timeout)).await {
        Ok(CallResult::Success(value)) => Ok(value),
        Ok(CallResult::Timeout) => {
            Err(Fault::TimedOut { what: "the request".into(), limit: timeout }.into())
        }
        Ok(CallResult::SenderError) | Err(_) => {
            Err(Fault::Internal("the part that should answer is being restarted; try again".into())
                .into())
        }
    }
}
