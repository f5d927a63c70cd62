//! Inits in a process of their own: of every connection, a live project's own process has
//! one end only, as it is on a real server. One line on standard input starts an init or
//! ends it.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::Context as _;
use sandtree_testkit::FakeInit;

/// What the program is called with to be this process.
pub(crate) const WORD: &str = "inits";

/// That process, until it is dropped.
pub(crate) struct Inits {
    child: Child,
    orders: Mutex<Option<ChildStdin>>,
}

impl Inits {
    pub(crate) fn spawn() -> anyhow::Result<Self> {
        let program = std::env::current_exe()?;
        let mut child = Command::new(program).arg(WORD).stdin(Stdio::piped()).spawn()?;
        let orders = Mutex::new(Some(child.stdin.take().context("its standard input")?));
        Ok(Self { child, orders })
    }

    /// The process that every one of them dials from.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Starts the init whose home is mounted from here.
    pub(crate) fn start(&self, home: &Path) -> std::io::Result<()> {
        self.order("start", home)
    }

    /// Ends it.
    pub(crate) fn end(&self, home: &Path) -> std::io::Result<()> {
        self.order("end", home)
    }

    fn order(&self, word: &str, home: &Path) -> std::io::Result<()> {
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(orders) = orders.as_mut() else { return Ok(()) };
        // A line is less than a pipe writes as a whole.
        orders.write_all(format!("{word} {}\n", home.display()).as_bytes())
    }
}

impl Drop for Inits {
    fn drop(&mut self) {
        // It ends with its orders.
        self.orders.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Err(error) = self.child.wait() {
            eprintln!("the process of the inits: {error}");
        }
    }
}

/// Does what it is told until there is nobody to tell it anything. Reads orders on the
/// thread that it is called on; the inits are tasks of the runtime's other threads.
pub(crate) fn run() -> anyhow::Result<()> {
    sandtree::open_files::raise_limit();
    let mut inits = HashMap::new();
    for order in std::io::stdin().lines() {
        let order = order?;
        match order.split_once(' ').context("an order of two words")? {
            ("start", home) => {
                let home = PathBuf::from(home);
                inits.insert(home.clone(), FakeInit::alone(home));
            }
            (_, home) => {
                if let Some(init) = inits.remove(Path::new(home)) {
                    init.kill();
                }
            }
        }
    }
    Ok(())
}
