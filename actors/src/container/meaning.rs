//! What an operation means, from which phase.

use sandtree_model::{Phase, Refusal, Target};

use crate::tree::Operation;

/// Whether nothing runs any more where the operation leads.
pub(super) fn is_ending(operation: Operation) -> bool {
    matches!(operation, Operation::Stop | Operation::Discard | Operation::Delete { .. })
}

/// Whether a project in this phase is where the operation leads; without one, whether it
/// is made.
///
/// # Errors
///
/// When the operation makes no sense from here.
pub(super) fn is_there_already(
    operation: Option<Operation>,
    phase: Phase,
) -> Result<bool, Refusal> {
    let refuse = |advice| Err(Refusal::WrongPhase { phase, advice });
    if matches!(phase, Phase::Deleting | Phase::Deleted) {
        let is_delete = matches!(operation, Some(Operation::Delete { .. }));
        return if is_delete { Ok(phase == Phase::Deleted) } else { refuse("create a new one") };
    }
    let Some(operation) = operation else {
        return Ok(phase != Phase::Creating);
    };
    match (operation, phase) {
        (Operation::Start | Operation::Resume, Phase::Running) => Ok(true),
        (Operation::Stop, Phase::Stopped | Phase::Failed) => Ok(true),
        (Operation::Pause, Phase::Paused) => Ok(true),
        (Operation::Start, Phase::Paused) => refuse("resume it instead"),
        (Operation::Pause, phase) if phase != Phase::Running => {
            refuse("only a running one can be paused")
        }
        (Operation::Resume, phase) if phase != Phase::Paused => {
            refuse("only a paused one can be resumed")
        }
        _ => Ok(false),
    }
}

/// Where an operation leads in the end.
pub(crate) fn target_of(operation: Operation) -> Target {
    match operation {
        Operation::Start | Operation::Restart | Operation::Resume => Target::Running,
        Operation::Stop | Operation::Discard => Target::Stopped,
        Operation::Pause => Target::Paused,
        Operation::Delete { keep_files: true } => Target::DeletedKeepingFiles,
        Operation::Delete { keep_files: false } => Target::Deleted,
    }
}
