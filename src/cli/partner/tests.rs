use clap::Parser as _;

use super::*;
use crate::config::partner;
use crate::domain::partner::PeerName;
use crate::identity::StandingBook;

#[derive(clap::Parser)]
struct Shell {
    #[command(flatten)]
    command: PartnerCommand,
}

fn run(dir: &std::path::Path, line: &str) -> Result<(), String> {
    let line = format!("partner {line} --dir {}", dir.display());
    let shell = Shell::try_parse_from(line.split(' ')).map_err(|error| error.to_string())?;
    shell.command.run().map(|_| ()).map_err(|error| format!("{error:?}"))
}

#[test]
fn a_partner_is_added_rotated_suspended_and_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let names = "--kind rental --legal-name x --display-name x --contact x";
    let (old, new) = ("a".repeat(64), "b".repeat(64));
    run(dir, &format!("add one {names} --uri urn:one --pin {old}")).unwrap();
    assert!(run(dir, &format!("add one {names} --uri urn:one")).unwrap_err().contains("--force"));
    assert!(run(dir, &format!("add two {names}")).is_err(), "nobody could call");
    assert!(
        run(dir, &format!("add two {names} --uri nonsense")).unwrap_err().contains("nothing was written")
    );
    assert!(!dir.join("partners/two.toml").exists());

    run(dir, &format!("rotate one --add-pin {new}")).unwrap();
    run(dir, &format!("rotate one --remove-pin {old}")).unwrap();
    assert!(run(dir, &format!("rotate one --remove-pin {new}")).unwrap_err().contains("last pin"));
    let file = partner::read(&dir.join("partners/one.toml")).unwrap();
    let names = [PeerName::SanUri("urn:one".into()), PeerName::SpkiSha256([0xbb; 32])];
    assert_eq!(file.contract.identities, names);

    run(dir, "list").unwrap();
    assert!(!dir.join("data").exists(), "looking changes nothing");
    let one = "one".parse().unwrap();
    run(dir, "suspend one --reason test --by op").unwrap();
    assert!(StandingBook::open(&dir.join("data/standing")).unwrap().is_suspended(&one));
    run(dir, "show one --json").unwrap();
    run(dir, "resume one --reason test --by op").unwrap();
    assert!(!StandingBook::open(&dir.join("data/standing")).unwrap().is_suspended(&one));
    run(dir, &format!("deny --pin {new} --reason stolen --by op")).unwrap();
    let pin = new.parse().unwrap();
    assert!(StandingBook::open(&dir.join("data/standing")).unwrap().is_denied(pin));
    assert!(run(dir, &format!("deny --pin {new}")).unwrap_err().contains("needs a reason"));
    assert!(run(dir, "deny --pin a7 --reason x").unwrap_err().contains("64 hexadecimal digits"));
    run(dir, &format!("allow --pin {new} --by op")).unwrap();
    assert!(!StandingBook::open(&dir.join("data/standing")).unwrap().is_denied(pin));
    assert!(run(dir, "suspend oen --reason test").unwrap_err().contains("there is no contract"));
    run(dir, "list --json").unwrap();
}

#[test]
fn the_configuration_says_where_contracts_and_standing_lie() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let config = include_str!("../init/config.toml")
        .replace("folder = \"partners\"", "folder = \"contracts\"")
        .replace("data/standing", "elsewhere/standing");
    std::fs::write(dir.join("config.toml"), config).unwrap();
    run(dir, "add one --kind rental --legal-name x --display-name x --contact x --uri urn:one").unwrap();
    run(dir, "suspend one --reason test --by op").unwrap();
    assert!(dir.join("contracts/one.toml").is_file());
    assert!(dir.join("elsewhere/standing/one.toml").is_file());
    assert!(!dir.join("partners").exists() && !dir.join("data").exists(), "nothing by guess");
    std::fs::write(dir.join("config.toml"), "nonsense").unwrap();
    assert!(run(dir, "suspend one --reason test").unwrap_err().contains("configuration cannot be used"));
}
