//! Codes are read by others as they were written, and others' codes are read here.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use super::read::text_of;
use super::*;
use crate::cli::terminal::Terminal;
use crate::identity::Existing;

/// As long as they come (178), with every symbol that shells, URLs and keyboards like to change.
fn text() -> String {
    let mut text = "DG1:0 9AZ$%*+-./:  ".to_owned();
    text.extend("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:".chars().cycle().take(177 - text.len()));
    text + "E"
}

/// What zbar reads, an independent implementation in C.
fn zbar_reads(path: &Path) -> String {
    let output = Command::new("zbarimg")
        .args(["--quiet", "--raw", "--oneshot", "-Sdisable", "-Sqrcode.enable"])
        .arg(path)
        .output()
        .expect("zbarimg is missing: tests/run prepare installs zbar-tools");
    let text = String::from_utf8(output.stdout).unwrap();
    text.strip_suffix('\n').unwrap_or(&text).to_owned()
}

/// Grey images of drawings, one beside the other.
fn side_by_side(texts: &[&str], inverted: bool) -> Vec<u8> {
    let drawings: Vec<_> = texts.iter().map(|text| QrDrawing::of(text, Ink::Black).unwrap()).collect();
    let lines: Vec<Vec<Vec<char>>> = drawings
        .iter()
        .map(|drawing| {
            drawing.to_lines(Terminal::plain()).lines().map(|line| line.chars().collect()).collect()
        })
        .collect();
    let (rows, columns) = (lines[0].len() * 2, lines.iter().map(|lines| lines[0].len()).sum::<usize>());
    const SCALE: usize = 6;
    let mut pixels = Vec::new();
    for y in 0..rows * SCALE {
        let row = y / SCALE;
        for one in &lines {
            let line = one.get(row / 2).cloned().unwrap_or_else(|| vec!['█'; one[0].len()]);
            for symbol in line {
                let light = symbol == '█' || (symbol == '▀') == row.is_multiple_of(2) && symbol != ' ';
                pixels.extend([if light != inverted { 255 } else { 0 }; SCALE]);
            }
        }
    }
    grey_png(columns * SCALE, rows * SCALE, &pixels)
}

fn grey_png(width: usize, height: usize, pixels: &[u8]) -> Vec<u8> {
    let mut image = Vec::new();
    let mut encoder =
        png::Encoder::new(&mut image, u32::try_from(width).unwrap(), u32::try_from(height).unwrap());
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.write_header().unwrap().write_image_data(pixels).unwrap();
    image
}

fn told(image: &[u8]) -> String {
    text_of(image).unwrap_err().to_string()
}

#[test]
fn an_image_is_read_as_it_was_written_here_and_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    for ink in [Ink::Black, Ink::Red] {
        let path = folder.path().join(format!("{ink:?}.png"));
        QrDrawing::of(&text(), ink).unwrap().save(&path, Existing::Keep).unwrap();
        assert_eq!(text_in(&path).unwrap(), text(), "{ink:?}");
        assert_eq!(zbar_reads(&path), text(), "{ink:?}");
    }
}

/// The lines a terminal shows, as a screenshot has them: dark terminals show light modules.
#[test]
fn what_a_terminal_shows_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("terminal.png");
    let image = side_by_side(&[&text()], false);
    std::fs::write(&path, &image).unwrap();
    assert_eq!(text_of(&image).unwrap(), text());
    assert_eq!(zbar_reads(&path), text());
    assert_eq!(text_of(&side_by_side(&[&text()], true)).unwrap(), text(), "light on dark");
}

#[test]
fn colours_are_the_drawings_own_and_the_margin_is_four_modules_of_white() {
    let drawing = QrDrawing::of("DG1:A", Ink::Red).unwrap();
    let coloured = drawing.to_lines(Terminal::colourful());
    let first = coloured.lines().next().unwrap();
    assert!(first.starts_with("\u{1b}[38;2;176;0;0;48;2;255;255;255m    ") && first.ends_with("\u{1b}[0m"));
    let plain = drawing.to_lines(Terminal::plain());
    assert!(!plain.contains('\u{1b}'));
    let lines: Vec<_> = plain.lines().collect();
    assert!(lines[..2].iter().all(|line| line.chars().all(|symbol| symbol == '█')), "{plain}");
    assert!(lines.iter().all(|line| line.starts_with("████") && line.ends_with("████")));
    assert_eq!(lines[0].chars().count(), 29, "version 1: 21 modules and the margin");
}

#[test]
fn a_file_is_its_owners_and_not_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("code.png");
    let [first, second] = ["DG1:A", "DG1:B"].map(|text| QrDrawing::of(text, Ink::Black).unwrap());
    first.save(&path, Existing::Keep).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let refused = second.save(&path, Existing::Keep).unwrap_err();
    assert_eq!(refused.help().unwrap().to_string(), "--force replaces it");
    assert_eq!(text_in(&path).unwrap(), "DG1:A");
    second.save(&path, Existing::Replace).unwrap();
    assert_eq!(text_in(&path).unwrap(), "DG1:B");
}

#[test]
fn what_cannot_be_used_is_told_apart() {
    let png = QrDrawing::of("DG1:A", Ink::Black).unwrap().to_png().unwrap();
    assert_eq!(text_of(&png).unwrap(), "DG1:A");
    assert_eq!(told(b""), "this is no PNG image");
    assert_eq!(told(b"\xff\xd8\xff\xe0 a photograph"), "this is no PNG image");
    assert!(told(&png[..png.len() / 2]).starts_with("this is no PNG image that can be read"));
    assert_eq!(told(&grey_png(300, 300, &[255; 90_000])), "the image holds no QR code");
    assert_eq!(told(&grey_png(1, 1, &[0])), "the image holds no QR code");
    assert_eq!(told(&side_by_side(&["DG1:A", "DG1:B"], false)), "the image holds several QR codes");
    let other = QrDrawing::of("https://drivegate.example/", Ink::Black).unwrap().to_png().unwrap();
    assert_eq!(told(&other), "the QR code in the image is not an e-licence's");
    let missing = text_in(Path::new("/nowhere/code.png")).unwrap_err().to_string();
    assert_eq!(missing, "cannot read /nowhere/code.png");
}

/// A header that promises 2³¹ pixels a side costs neither memory nor time.
#[test]
fn a_bomb_is_refused_by_its_size() {
    let mut png = QrDrawing::of("DG1:A", Ink::Black).unwrap().to_png().unwrap();
    png[16..24].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff]);
    let checksum = crc32fast::hash(&png[12..29]);
    png[29..33].copy_from_slice(&checksum.to_be_bytes());
    let told = told(&png);
    assert!(told.contains("pixels") || told.contains("can be read"), "{told}");
}

/// Every byte of a good image changed in turn: an error or the same text, never a panic.
#[test]
fn a_damaged_image_does_no_harm() {
    let png = QrDrawing::of("DG1:A", Ink::Black).unwrap().to_png().unwrap();
    for place in 0..png.len() {
        let mut damaged = png.clone();
        damaged[place] ^= 0x55;
        if let Ok(read) = text_of(&damaged) {
            assert_eq!(read, "DG1:A", "byte {place}");
        }
    }
}
