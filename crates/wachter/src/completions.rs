//! `wachter completions`: scripts by which shells complete the commands.

use std::io::Write;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::failure::CommandResult;

#[derive(Args, Debug)]
pub(crate) struct CompletionsArguments {
    /// Which shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn carry_out(arguments: &CompletionsArguments) -> CommandResult {
    match std::io::stdout().write_all(&script(arguments.shell)) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// The script, whole: a reader that goes away in the middle is no panic.
fn script(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut crate::Arguments::command(), "wachter", &mut script);
    script
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use clap::ValueEnum;

    use super::*;

    #[test]
    fn bash_takes_its_script_and_completes_with_it() {
        let mut bash = Command::new("bash")
            .arg("-s")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = bash.stdin.take().unwrap();
        stdin.write_all(&script(Shell::Bash)).unwrap();
        let asking = "\nCOMP_WORDS=(wachter supp) COMP_CWORD=1\n_wachter wachter supp wachter\n\
            echo \"${COMPREPLY[@]}\"\n";
        stdin.write_all(asking.as_bytes()).unwrap();
        drop(stdin);
        let said = bash.wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&said.stderr);
        assert!(said.status.success() && errors.is_empty(), "{errors}");
        assert_eq!(String::from_utf8_lossy(&said.stdout).trim(), "support-bundle");
    }

    #[test]
    fn every_shell_has_a_script_with_every_command() {
        for shell in Shell::value_variants() {
            let script = String::from_utf8(script(*shell)).unwrap();
            for command in crate::Arguments::command().get_subcommands() {
                let name = command.get_name();
                assert!(script.contains(name), "no `{name}` for {shell}");
            }
        }
    }
}
