use proptest::prelude::*;

use super::*;

fn normal(command: &str) -> Verdict {
    Validator::new(Mode::Normal).validate(command)
}

fn strict(command: &str) -> Verdict {
    Validator::new(Mode::Strict).validate(command)
}

/// What a table says in one word: `ok`, or the message.
fn said(verdict: &Verdict) -> &str {
    match verdict {
        Verdict::Allowed { .. } => "ok",
        Verdict::Refused(refused) => &refused.message,
    }
}

const PATTERN: &str = "Dangerous pattern detected";
const PATH: &str = "Path traversal detected";

#[test]
fn the_rows_of_the_contract() {
    let rows: [(&str, &str, &str); 11] = [
        ("npm install && npm run dev", "ok", "ok"),
        ("rm -rf node_modules", "ok", "Command 'rm' not in whitelist"),
        ("echo a; rm b", PATTERN, PATTERN),
        ("pwd -P", "ok", "Command 'pwd' does not accept arguments"),
        ("", "Empty command", "Empty command"),
        ("cat Dockerfile", "Blocked command pattern: docker", "Blocked command pattern: docker"),
        ("ls /usr/bin", PATH, PATH),
        ("npm run mount", "Blocked command pattern: mount", "Blocked command pattern: mount"),
        ("npm publish", "ok", "Argument 'publish' not allowed for 'npm'"),
        ("yarn dev", "ok", "Argument 'dev' not allowed for 'yarn'"),
        ("next lint", "ok", "Argument 'lint' not allowed for 'next'"),
    ];
    for (command, in_normal, in_strict) in rows {
        assert_eq!(said(&normal(command)), in_normal, "normal: {command}");
        assert_eq!(said(&strict(command)), in_strict, "strict: {command}");
    }
}

/// The lists of the contract, as it writes them: what the tables of the validator hold.
#[test]
fn the_lists_of_the_contract() {
    let mut blocked = [
        "rm -rf /",
        "rm -rf /*",
        "rm -rf ~",
        "mkfs",
        "dd if=",
        ":(){:|:&};:",
        "sudo",
        "su ",
        "chmod 777",
        "chown root",
        "cat /etc/passwd",
        "cat /etc/shadow",
        "/proc/",
        "/sys/",
        "docker",
        "kubectl",
        "mount",
        "umount",
        "chroot",
        "nc -l",
        "nmap",
        "tcpdump",
        "wireshark",
    ];
    let mut known = BLOCKED;
    blocked.sort_unstable();
    known.sort_unstable();
    assert_eq!(known, blocked);
    let outside = ["/etc/", "/var/", "/usr/", "/root/", "/proc/", "/sys/", "/dev/"];
    assert_eq!(OUTSIDE[..3], ["../", "..%2f", "..\\"], "plain, encoded, backslash");
    assert_eq!(OUTSIDE[3..], outside);

    let any = "npx node tsc vite python python3 uvicorn gunicorn django-admin pytest java javac \
               rustc cat ls echo mkdir cp mv touch head tail grep find curl wget";
    for name in any.split(' ') {
        assert_eq!(said(&strict(&format!("{name} --any of it"))), "ok", "{name}");
    }
    for name in ["pwd", "clear", "exit"] {
        assert_eq!(said(&strict(name)), "ok", "{name}");
        assert!(!strict(&format!("{name} 0")).is_valid(), "{name}");
    }
    let first = [
        ("npm", "install run start build test init ci"),
        ("yarn", "install add remove build start test"),
        ("pnpm", "install add remove build start test"),
        ("next", "dev build start"),
        ("pip", "install uninstall list freeze"),
        ("pip3", "install uninstall list freeze"),
        ("flask", "run"),
        ("mvn", "clean install package test compile spring-boot:run"),
        ("gradle", "build run test clean bootRun"),
        ("go", "run build test mod get"),
        ("cargo", "run build test new init"),
        ("git", "clone init add commit status diff log pull push"),
    ];
    for (name, words) in first {
        for word in words.split(' ') {
            assert_eq!(said(&strict(&format!("{name} {word} more"))), "ok", "{name} {word}");
        }
    }
    let names = ALLOWED.iter().flat_map(|(names, _)| names.iter()).count();
    assert_eq!(names, any.split(' ').count() + 3 + first.len(), "and no others");
    for ((name, words), row) in
        first.iter().map(|it| (it, ALLOWED.iter().find(|row| row.0.contains(&it.0))))
    {
        let Some((_, Arguments::First(known))) = row else { panic!("{name}") };
        assert_eq!(known.len(), words.split(' ').count(), "{name} and no others");
    }
}

#[test]
fn every_blocked_text_is_found_in_any_case_and_told_by_its_name() {
    for text in BLOCKED {
        for command in [format!("x {text} y"), format!("X {} Y", text.to_uppercase())] {
            let Verdict::Refused(refused) = normal(&command) else { panic!("{command}") };
            assert_eq!(refused.patterns, [text], "{command}");
            assert_eq!(refused.message, format!("Blocked command pattern: {text}"));
        }
    }
    assert!(!normal(":() { :|: & };:").is_valid(), "a fork bomb as people write it");
}

#[test]
fn every_dangerous_shape_is_found() {
    let rows = [
        ("rm of / or ~", "rm -r -f /"),
        ("rm of / or ~", "rm ~/x"),
        ("rm of / or ~", "rm --recursive '/'"),
        ("a redirection to a disk", "echo x >  /dev/sda"),
        ("a redirection into /etc", "echo x >/etc/hosts"),
        ("curl into a shell", "curl -s example.com | sh"),
        ("curl into a shell", "curl -s example.com |\nbash"),
        ("wget into a shell", "wget -O- example.com|bash"),
        ("eval(", "node -p eval('1')"),
        ("decoded base64 into a pipe", "base64 -d x | python"),
        ("decoded base64 into a pipe", "base64 --decode x | python"),
        ("command substitution by $(...)", "echo $(id)"),
        ("command substitution by backticks", "echo `id`"),
        ("rm after ;", "echo a;rm b"),
        ("rm after &&", "cd x && rm b"),
        ("rm after ||", "cd x || rm b"),
        ("exec in python -c", "python3 -c \"exec('x')\""),
        ("require in node -e", "node -e \"require('fs')\""),
        ("env that sets variables for a command", "env A=1 npm start"),
    ];
    for (name, command) in rows {
        let Verdict::Refused(refused) = normal(command) else { panic!("{command}") };
        assert!(refused.patterns.contains(&name), "{command}: {:?}", refused.patterns);
        assert_eq!(refused.message, PATTERN, "{command}");
    }
    for (name, _) in DANGEROUS {
        assert!(rows.iter().any(|(known, _)| *known == name), "{name} has no row here");
    }
    let all = normal("cd x && rm $(cat y)");
    let Verdict::Refused(Refused { patterns, .. }) = all else { panic!("{all:?}") };
    assert_eq!(patterns, ["command substitution by $(...)", "rm after &&"], "all are told");
}

#[test]
fn a_path_out_of_the_workspace_is_found() {
    for text in OUTSIDE.iter().filter(|text| !BLOCKED.contains(text)) {
        assert_eq!(said(&normal(&format!("ls x{text}y"))), PATH, "{text}");
    }
    let rows = [
        ("cat ..%2Fx", PATH),
        ("type ..\\x", PATH),
        ("ls /home/other", PATH),
        ("ls /home/workspace2", PATH),
        ("ls /home/workspace/a /home/b", PATH),
        ("ls /home/workspace", "ok"),
        ("ls /home/workspace/a", "ok"),
        ("npm run dev > /dev/null", PATH),
        ("ls /workspace/src", "ok"),
        ("ls src..", "ok"),
    ];
    for (command, expected) in rows {
        assert_eq!(said(&normal(command)), expected, "{command}");
    }
}

#[test]
fn what_is_of_every_day_is_let_through() {
    for command in [
        "cd src && ls",
        "python -m venv .venv && pip install flask==2.0 requests",
        "npm run build 2>&1",
        "cp .env.example .env",
        "pip install -r requirements.txt",
        "cat << EOF > a.txt\nhello\nEOF",
    ] {
        assert_eq!(said(&normal(command)), "ok", "{command}");
    }
}

#[test]
fn strict_mode_allows_what_is_in_the_list_and_its_arguments() {
    for (names, arguments) in ALLOWED {
        for name in *names {
            assert_eq!(said(&strict(name)), "ok", "{name}");
            let odd = strict(&format!("{name} --odd"));
            match arguments {
                Arguments::Any => assert_eq!(said(&odd), "ok", "{name}"),
                Arguments::None => assert!(!odd.is_valid(), "{name}"),
                Arguments::First(first) => {
                    let message = format!("Argument '--odd' not allowed for '{name}'");
                    assert_eq!(said(&odd), message, "{name}");
                    for word in *first {
                        assert_eq!(said(&strict(&format!("{name} {word} --odd"))), "ok", "{word}");
                    }
                }
            }
        }
    }
    assert_eq!(said(&strict("./node_modules/.bin/vite --port 3000")), "ok");
}

#[test]
fn strict_mode_looks_at_every_command_that_the_shell_would_run() {
    for hidden in ["ls && bash", "ls; bash", "ls | bash", "ls & bash", "ls\nbash", "(bash)"] {
        assert_eq!(said(&strict(hidden)), "Command 'bash' not in whitelist", "{hidden:?}");
    }
    assert_eq!(said(&strict("echo 'a && bash'")), "ok");
    assert_eq!(said(&strict("PATH=. ls")), "Command 'PATH=.' not in whitelist");
    assert_eq!(said(&strict("ls 'a")), "Invalid command syntax: no closing quotation");
    assert_eq!(said(&strict("npm run build 2>&1 | tail -n 5")), "ok");
}

#[test]
fn a_risk_is_told() {
    let rows = [
        ("npm install && npm run dev", Risk::Moderate),
        ("rm -rf node_modules", Risk::Moderate),
        ("curl example.com", Risk::Moderate),
        ("npm run dev", Risk::Safe),
        ("python function.py", Risk::Safe),
        ("sudo ls", Risk::Blocked),
    ];
    for (command, risk) in rows {
        assert_eq!(normal(command).risk(), risk, "{command}");
    }
    let words = [Risk::Safe, Risk::Moderate, Risk::Dangerous, Risk::Blocked].map(Risk::as_str);
    assert_eq!(words, ["safe", "moderate", "dangerous", "blocked"]);
    assert!(Risk::Safe < Risk::Moderate && Risk::Dangerous < Risk::Blocked);
}

#[test]
fn nothing_is_refused_or_changed_when_commands_are_not_checked() {
    let off = Validator::new(Mode::Off);
    for (command, risk) in
        [("sudo ls", Risk::Dangerous), (" ls\x1b[0m ", Risk::Safe), ("", Risk::Dangerous)]
    {
        let expected = Verdict::Allowed { risk, command: command.to_owned() };
        assert_eq!(off.validate(command), expected, "{command:?}");
    }
}

#[test]
fn a_command_is_made_clean() {
    let rows = [
        ("  ls\t\n", "ls"),
        ("l\0s", "ls"),
        ("\x1b[31mls\x1b[0m", "ls"),
        ("ls\x1bM", "ls"),
        ("\x1b\x1b[0m[0mls", "[0mls"),
    ];
    for (command, expected) in rows {
        assert_eq!(sanitised(command), expected, "{command:?}");
    }
    let long = "é".repeat(CHARS_MAX + 1);
    assert_eq!(sanitised(&long).chars().count(), CHARS_MAX);
}

#[test]
fn nothing_hides_in_what_is_taken_out_or_cut_off() {
    for command in ["su\0do ls", "su\x1b[0mdo ls", "su\x1b\x1b[0mdo ls", "\0", "\x1b[0m \t"] {
        assert!(!normal(command).is_valid(), "{command:?}");
    }
    // What is beyond the end is not run.
    let padded = format!("echo{}; sudo ls", " ".repeat(CHARS_MAX));
    assert_eq!(normal(&padded).into_command().unwrap(), "echo");
}

proptest! {
    #[test]
    fn whatever_is_let_through_is_clean_and_is_let_through_again(command in "\\PC{0,200}|[ -~\\x00-\\x1f]{0,200}") {
        for mode in [Mode::Normal, Mode::Strict] {
            let validator = Validator::new(mode);
            if let Ok(clean) = validator.validate(&command).into_command() {
                prop_assert!(!clean.contains(['\0', '\x1b']));
                prop_assert_eq!(validator.validate(&clean).into_command().unwrap(), clean);
            }
        }
    }

    #[test]
    fn what_strict_mode_allows_so_does_normal_mode(command in "(npm|ls|cat|echo|&&|;| |a|rm|'|\\$|/){1,12}") {
        if strict(&command).is_valid() {
            prop_assert!(normal(&command).is_valid());
        }
    }
}
