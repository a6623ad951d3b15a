//! `docs/conformance.md` has a row for every fact of the article, and cites only what exists.

use std::path::Path;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/conformance.md");

/// Facts in `docs/domain.md` §0.
const FACTS: usize = 32;

/// Reads the cells of every numbered row.
fn rows() -> Vec<Vec<String>> {
    let page = std::fs::read_to_string(PAGE).expect("the page can be read");
    let cells = |line: &str| line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect();
    let rows = page.lines().filter(|line| line.starts_with("| ")).map(cells);
    rows.filter(|cells: &Vec<String>| cells[0].parse::<usize>().is_ok()).collect()
}

/// Reads what stands between backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn is_path(quoted: &str) -> bool {
    ["src/", "tests/", "docs/", "proto/", "scripts/"].iter().any(|folder| quoted.starts_with(folder))
}

#[test]
fn every_fact_of_the_article_has_its_row() {
    let numbers: Vec<usize> = rows().iter().map(|cells| cells[0].parse().expect("a number")).collect();
    assert_eq!(numbers, (1..=FACTS).collect::<Vec<_>>());
    for cells in rows() {
        assert_eq!(cells.len(), 4, "fact {}: number, fact, carried by, tested by", cells[0]);
        assert!(cells.iter().all(|cell| !cell.is_empty()), "fact {} leaves a cell empty", cells[0]);
    }
}

#[test]
fn every_file_and_test_it_cites_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut files, mut tests) = (0, 0);
    for cells in rows() {
        for cited in cells[2..].iter().flat_map(|cell| quoted(cell)).filter(|quoted| is_path(quoted)) {
            let (path, test) =
                cited.split_once("::").map_or((cited, None), |(path, test)| (path, Some(test)));
            let path = root.join(path);
            assert!(path.exists(), "fact {} cites {cited}, which is not there", cells[0]);
            files += 1;
            let Some(test) = test else { continue };
            let source = std::fs::read_to_string(&path).expect("a cited file can be read");
            let found = source.contains(&format!("fn {test}(")) || source.contains(&format!("def {test}("));
            assert!(found, "fact {} cites {cited}, which has no such test", cells[0]);
            tests += 1;
        }
        let says_why = cells[3].starts_with("–") && cells[3].len() > 10;
        assert!(cells[3].contains("::") || says_why, "fact {} has neither test nor reason", cells[0]);
    }
    assert!(files > FACTS && tests > 20, "{files} files, {tests} tests");
}

#[test]
fn the_facts_are_those_of_the_domain_reference() {
    let reference = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/domain.md");
    let reference = std::fs::read_to_string(reference).expect("the reference can be read");
    let facts = reference.split("\n## 1").next().unwrap_or_default();
    let numbered = facts.lines().filter_map(|line| line.split_once(". ")?.0.parse::<usize>().ok());
    assert_eq!(numbered.collect::<Vec<_>>(), (1..=FACTS).collect::<Vec<_>>());
}
