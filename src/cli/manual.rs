//! `tidegate man`: manual pages (roff, man(7)), made from the same words as
//! `--help`.
//!
//! clap_mangen renders the parts that clap knows: synopsis, description and
//! options. The text behind the options (`after_help`) is taken out before and
//! rendered here, because clap_mangen would print it as one flowing paragraph,
//! and examples have to keep their lines.
//!
//! The pages of `run`, `check` and `reload`, and that of tidegate itself, end
//! with sections on files, signals and exit statuses, which `--help` has no
//! room for.
//!
//! The command is meant for packagers, who call it once for each page when they
//! build a package. It reads no configuration and needs no running gateway.

use std::process::ExitCode;

use clap::{Args, Command};
use clap_mangen::Man;

use super::output::{fail, print};

/// Print a manual page
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// The command it is about [default: tidegate itself]
    command: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  tidegate man > tidegate.1
  tidegate man run > tidegate-run.1
  tidegate man proxy | man -l -";

/// Sections for the commands that read a configuration.
///
/// The text is roff and is appended as it is.
const SYSTEM: &str = r#".SH FILES
.TP
\fI./tidegate.toml\fR, \fI/etc/tidegate/tidegate.toml\fR
The configuration, where none is named; the first that exists.
.SH SIGNALS
.TP
SIGHUP
Read the configuration again.
.TP
SIGUSR2
Have a new process of the binary take over the sockets; no connection is refused.
.TP
SIGTERM, SIGINT
Finish what is in flight and end; a second one ends at once.
.SH EXIT STATUS
.TP
0
Fine, also when a drain had to cut requests.
.TP
1
A mistake in the configuration, a failure, or a second signal.
.TP
2
A wrong command line.
"#;

/// The text behind the options as sections: examples one a line, everything
/// else as it is. The paragraph about exit statuses is left out, since `SYSTEM`
/// has a section on them.
///
/// Paragraphs are separated by an empty line. One that begins with `Examples:`
/// becomes the section EXAMPLES, any other one a section NOTES of its own.
/// `.nf` and `.fi` keep roff from filling the lines. Backslashes and hyphens
/// are escaped: a bare hyphen may be rendered as a typographic one, which no
/// shell accepts when it is copied.
fn sections(after: &str) -> String {
    let mut page = String::new();
    for paragraph in after
        .split("\n\n")
        .filter(|paragraph| !paragraph.starts_with("Exit status:"))
    {
        let (header, lines) = match paragraph.strip_prefix("Examples:\n") {
            Some(examples) => ("EXAMPLES", examples),
            None => ("NOTES", paragraph),
        };
        page += &format!(".SH {header}\n.nf\n");
        for line in lines.lines() {
            // A line that begins with a dot or a quote would be a command of
            // roff.
            page += &format!(
                "\\&{}\n",
                line.trim_start().replace('\\', "\\e").replace('-', "\\-")
            );
        }
        page += ".fi\n";
    }
    page
}

/// Prints the page. `all` is the whole command line.
///
/// Fails with exit status 1 if the named command does not exist, or if the page
/// cannot be rendered.
///
/// `all` is built first, so that the commands have their full names and the
/// options that they inherit.
pub(super) fn run(arguments: &Arguments, mut all: Command) -> ExitCode {
    all.build();
    let command = match &arguments.command {
        None => Some(all),
        Some(name) => all.find_subcommand(name).cloned(),
    };
    let Some(command) = command else {
        let name = arguments.command.as_deref().unwrap_or_default();
        return fail(format!(
            "there is no command `{name}`; `tidegate --help` lists all"
        ));
    };
    let after = command
        .get_after_help()
        .map(ToString::to_string)
        .unwrap_or_default();
    let runs = matches!(
        arguments.command.as_deref(),
        None | Some("run" | "check" | "reload")
    );
    let mut page = Vec::new();
    match Man::new(command.after_help(None::<&'static str>)).render(&mut page) {
        Ok(()) => print(&format!(
            "{}{}{}",
            String::from_utf8_lossy(&page),
            sections(&after),
            if runs { SYSTEM } else { "" }
        )),
        Err(error) => fail(format!("cannot make the page ({error})")),
    }
}
