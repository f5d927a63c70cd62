//! What is known of a project: what was answered, and what may or may not have happened.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Where a project is; `None`: there is none.
pub(crate) type At = Option<&'static str>;

/// One project of the soak.
pub(crate) struct Ledger {
    pub(crate) id: String,
    /// Where it may be. More than one: the last operation was not answered.
    pub(crate) at: BTreeSet<At>,
    /// The versions that each file may have; none of them: it may be absent.
    files: BTreeMap<u8, BTreeSet<u64>>,
    versions: u64,
    /// Who it is, and the generation of the last move that was answered.
    answered: Option<(Value, u64)>,
    /// Pids of process and shell, and the generation they belong to.
    pids: Option<(u64, Value, Value)>,
    /// Answers that nobody expected.
    pub(crate) odd: Vec<String>,
    /// Answers of all kinds.
    pub(crate) answers: u64,
}

impl Ledger {
    pub(crate) fn new(nth: u64) -> Self {
        Self {
            id: format!("soak-{nth}"),
            at: BTreeSet::from([None]),
            files: BTreeMap::new(),
            versions: 0,
            answered: None,
            pids: None,
            odd: Vec::new(),
            answers: 0,
        }
    }

    /// Where it is, if that is known.
    pub(crate) fn known(&self) -> Option<At> {
        let mut all = self.at.iter();
        all.next().filter(|_| all.next().is_none()).copied()
    }

    /// A file's next version is on its way.
    pub(crate) fn writing(&mut self, file: u8) -> u64 {
        self.versions += 1;
        self.files.entry(file).or_insert_with(|| BTreeSet::from([0])).insert(self.versions);
        self.versions
    }

    /// A file's version was acknowledged.
    pub(crate) fn written(&mut self, file: u8, version: u64) {
        self.files.insert(file, BTreeSet::from([version]));
    }

    /// What each file may be: one of these versions, 0 for absent.
    pub(crate) fn files(&self) -> impl Iterator<Item = (u8, &BTreeSet<u64>)> {
        self.files.iter().map(|(file, versions)| (*file, versions))
    }

    /// What is found after a restart is what holds from now on.
    pub(crate) fn found_file(&mut self, file: u8, version: u64) {
        self.files.insert(file, BTreeSet::from([version]));
    }

    /// It was found where it is; a deleted one has taken all along.
    pub(crate) fn found(&mut self, at: At) {
        self.at = BTreeSet::from([at]);
        if at.is_none() {
            self.files.clear();
            self.pids = None;
            self.answered = None;
        }
    }

    /// A move was answered with this document, which shows nothing of one that is gone.
    pub(crate) fn answered(&mut self, shown: &Value) {
        if let Some(generation) = shown["generation"].as_u64() {
            self.answered = Some((shown["uid"].clone(), generation));
        }
    }

    /// What is wrong with a project that is where it was before a move that was answered.
    pub(crate) fn lost_move(&self, shown: &Value) -> Option<String> {
        let (uid, generation) = self.answered.as_ref()?;
        let is_behind = shown["uid"] == *uid && shown["generation"].as_u64() < Some(*generation);
        is_behind.then(|| format!("{}: generation {generation} was answered: {shown}", self.id))
    }

    /// Remembers who runs, from the project's document.
    pub(crate) fn note_pids(&mut self, shown: &Value) {
        let pid = |of: &str| shown[of]["pid"].clone();
        let generation = shown["generation"].as_u64().unwrap_or(0);
        self.pids = Some((generation, pid("process"), pid("terminal")));
    }

    /// What is wrong with who runs now, if nothing was moved since they were noted.
    pub(crate) fn wrong_pids(&self, shown: &Value) -> Option<String> {
        let (generation, process, shell) = self.pids.as_ref()?;
        if shown["generation"].as_u64() != Some(*generation) {
            return None;
        }
        let differs = |of: &str, pid: &Value| !pid.is_null() && shown[of]["pid"] != *pid;
        let is_wrong = differs("process", process) || differs("terminal", shell);
        is_wrong.then(|| format!("{}: {process} and {shell} ran, now {shown}", self.id))
    }

    /// What runs may be replaced at any moment now.
    pub(crate) fn forget_pids(&mut self) {
        self.pids = None;
    }
}

/// The content of a file's version: it tells itself whether it is whole.
pub(crate) fn content(file: u8, version: u64) -> String {
    let length = usize::try_from(version * 7919 % 60_000).expect("short");
    let line = format!("{file} {version} ");
    let mut text = line.repeat(length / line.len() + 1);
    text.push_str("end");
    text
}
