//! How each act is done, and when its answer is a good one.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use bytes::Bytes;
use sandtree_actors::{
    CreateRequest, ExecOutput, Operation, TerminalItem, Tree, ViewRequest, WriteError,
};
use sandtree_model::durations::Span;
use sandtree_model::process::WhenFull;
use sandtree_model::{Answer, ExitStatus, Fault, ProcessSpec, RestartPolicy};
use sandtree_wire::ExecSpec;
use sandtree_workspace::{Parents, Precondition, Workspace, WorkspaceError, WorkspacePath};

use crate::case::{Act, Command, Keys};
use crate::ground::{key, tester};
use crate::model::Answered;
use crate::trace::note;

/// The one project.
pub(crate) const ID: &str = "demo";
/// The one file.
pub(crate) const FILE: &str = "file";
/// How long somebody waits for what he has typed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Does an act that somebody waits for, the `nth` of its case.
///
/// # Panics
///
/// When the answer is good and false.
pub(crate) async fn perform(tree: Tree, act: Act, nth: usize) -> Answered {
    let outcome = match act {
        Act::Create { start } => {
            let id = Some(key(ID).id);
            let request = CreateRequest { id, start, ..CreateRequest::default() };
            tree.create(&tester(), request).await.map(drop)
        }
        Act::Operate(operation) => operate(&tree, operation).await,
        Act::PutProcess(which) => tree.put_process(&key(ID), process(which)).await.map(drop),
        Act::StopProcess => tree.stop_process(&key(ID)).await.map(drop),
        Act::Exec(command) => exec(&tree, command).await,
        Act::Type(keys) => type_keys(&tree, keys, nth).await,
        Act::Write(version) => write(&tree, version).await,
        Act::Behind(_) | Act::CutInit | Act::EngineAway { .. } => Ok(()),
    };
    match outcome {
        Ok(()) => {
            note(format!("{act:?}: done"));
            Answered::Well
        }
        Err(failure) => {
            note(format!("{act:?}: {failure}"));
            Answered::Badly
        }
    }
}

async fn operate(tree: &Tree, operation: Operation) -> Answer<()> {
    tree.operate(&tester(), &key(ID), operation).await.map(drop)
}

/// A process that runs until it is stopped.
pub(crate) fn process(which: u8) -> ProcessSpec {
    ProcessSpec {
        argv: vec!["serve".into(), which.to_string().into()],
        cwd: None,
        env: BTreeMap::new(),
        restart: RestartPolicy::OnFailure,
        stop_grace: Span::from_secs(1),
        when_full: WhenFull::Gap,
    }
}

async fn exec(tree: &Tree, command: Command) -> Answer<()> {
    let (argv, timeout_ms): (&[&str], _) = match command {
        Command::Echo => (&["echo", "here"], None),
        Command::Fails => (&["exit", "3"], None),
        Command::Hangs => (&["hang"], Some(300)),
    };
    let argv = argv.iter().map(ToString::to_string).collect();
    let spec = ExecSpec { argv, timeout_ms, ..ExecSpec::default() };
    let mut exec = tree.sandbox(&key(ID)).await?.exec(spec).await?;
    let mut said = Vec::new();
    let ended = loop {
        match exec.next().await? {
            ExecOutput::Started { .. } => {}
            ExecOutput::Stdout(bytes) | ExecOutput::Stderr(bytes) => said.extend_from_slice(&bytes),
            ExecOutput::Failed(error) => panic!("a command that exists: {error:?}"),
            ExecOutput::Exited { status, timed_out } => break (status, timed_out),
        }
    };
    let (expected, text) = match command {
        Command::Echo => ((ExitStatus::Code(0), false), "here\n"),
        Command::Fails => ((ExitStatus::Code(3), false), ""),
        Command::Hangs => ((ExitStatus::Signal(9), true), ""),
    };
    assert_eq!((ended, said.as_slice()), (expected, text.as_bytes()), "{command:?}");
    Ok(())
}

/// Types, and waits until the shell has echoed it, or has ended by it.
async fn type_keys(tree: &Tree, keys: Keys, nth: usize) -> Answer<()> {
    // No screen shows it yet.
    let word = format!("word-{nth}.");
    let request = ViewRequest { cols: Some(80), rows: Some(24), after: None, leave_grace: None };
    let mut viewer = tree.open_terminal(&key(ID), request).await?;
    let typed = match keys {
        Keys::Word => Bytes::from(word.clone()),
        Keys::Exit => Bytes::from_static(b"\rexit\r"),
    };
    viewer.input().write(typed).await?;
    let mut said = Vec::new();
    let answer = async {
        while let Some(item) = viewer.next().await {
            match item {
                TerminalItem::Bytes(bytes) => said.extend_from_slice(&bytes),
                TerminalItem::Ready { .. } | TerminalItem::Gap { .. } => {}
                TerminalItem::Exited(status) => return status == ExitStatus::Code(0),
            }
            if keys == Keys::Word && says(&said, &word) {
                return true;
            }
        }
        false
    };
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(Fault::Sandbox("the shell ended otherwise".into()).into()),
        Err(_) => Err(Fault::TimedOut { what: "an echo".into(), limit: PATIENCE }.into()),
    }
}

fn says(said: &[u8], word: &str) -> bool {
    said.windows(word.len()).any(|it| it == word.as_bytes())
}

async fn write(tree: &Tree, version: u8) -> Answer<()> {
    let files = tree.files(&key(ID)).await?;
    let written = files.write(move |workspace| (replace(workspace, version), Vec::new())).await;
    written.map_err(|error| match error {
        WriteError::Failure(failure) => failure,
        // The directory may be gone, or being taken away.
        WriteError::Workspace(error) => Fault::Disk(error.to_string().into()).into(),
    })
}

fn replace(workspace: &Workspace, version: u8) -> Result<(), WorkspaceError> {
    let path = WorkspacePath::parse(FILE)?;
    let mut staged = workspace.stage(1)?;
    staged.write_all(&[version])?;
    workspace.commit(staged, &path, &Precondition::None, Parents::Create).map(drop)
}
