//! `sandtree completions`: what a shell completes after `sandtree`.

use clap::{Args, Command, ValueEnum};
use clap_complete::Shell as Language;

/// `sandtree completions`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sandtree completions bash > ~/.local/share/bash-completion/completions/sandtree
  sandtree completions zsh > \"${fpath[1]}/_sandtree\"
  sandtree completions fish > ~/.config/fish/completions/sandtree.fish")]
pub(super) struct Completions {
    /// For which shell.
    shell: Shell,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// The completions of a program.
pub(super) fn text(wanted: &Completions, mut program: Command) -> String {
    let language = match wanted.shell {
        Shell::Bash => Language::Bash,
        Shell::Zsh => Language::Zsh,
        Shell::Fish => Language::Fish,
    };
    let mut text = Vec::new();
    clap_complete::generate(language, &mut program, "sandtree", &mut text);
    String::from_utf8_lossy(&text).into_owned()
}
