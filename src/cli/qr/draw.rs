//! Drawing a QR code at error correction level M, with the quiet zone of four modules that readers need (ISO/IEC 18004 §6.3.8).

use std::path::Path;

use miette::{IntoDiagnostic as _, WrapErr as _, miette};
use qrcode::{Color, EcLevel, QrCode};

use super::super::terminal::Terminal;
use crate::identity::{Existing, write_secret};

/// Light modules around the code.
const QUIET_ZONE: usize = 4;

/// Pixels of a module's side: a code of version 8 becomes an image of 456 pixels.
const MODULE_PIXELS: usize = 8;

/// What the dark modules are drawn in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ink {
    /// As usual.
    Black,
    /// The licence does not permit driving now. Dark enough for readers that see grey only.
    Red,
}

impl Ink {
    const fn rgb(self) -> [u8; 3] {
        match self {
            Self::Black => [0, 0, 0],
            Self::Red => [0xb0, 0, 0],
        }
    }
}

/// A QR code as a square of modules, quiet zone included.
pub(crate) struct QrDrawing {
    side: usize,
    dark: Vec<bool>,
    ink: Ink,
}

impl QrDrawing {
    /// Encodes a text.
    ///
    /// # Errors
    /// It is too long for a QR code.
    pub(crate) fn of(text: &str, ink: Ink) -> miette::Result<Self> {
        let code = QrCode::with_error_correction_level(text, EcLevel::M)
            .map_err(|error| miette!("the text does not fit into a QR code: {error}"))?;
        let width = code.width();
        let side = width + 2 * QUIET_ZONE;
        let mut dark = vec![false; side * side];
        for (index, colour) in code.into_colors().into_iter().enumerate() {
            let (row, column) = (index / width + QUIET_ZONE, index % width + QUIET_ZONE);
            dark[row * side + column] = colour == Color::Dark;
        }
        Ok(Self { side, dark, ink })
    }

    fn is_dark(&self, row: usize, column: usize) -> bool {
        self.dark.get(row * self.side + column).copied().unwrap_or(false)
    }

    /// Draws two modules to a character. With colours the modules are dark on white whatever the terminal's own; without,
    /// the light ones are drawn, for a terminal is taken to be dark.
    pub(crate) fn to_lines(&self, terminal: Terminal) -> String {
        let mut lines = String::new();
        let [red, green, blue] = self.ink.rgb();
        for row in (0..self.side).step_by(2) {
            if terminal.has_colour() {
                lines.push_str(&format!("\u{1b}[38;2;{red};{green};{blue};48;2;255;255;255m"));
            }
            for column in 0..self.side {
                let [upper, lower] =
                    [row, row + 1].map(|row| self.is_dark(row, column) == terminal.has_colour());
                lines.push(match (upper, lower) {
                    (true, true) => '█',
                    (true, false) => '▀',
                    (false, true) => '▄',
                    (false, false) => ' ',
                });
            }
            if terminal.has_colour() {
                lines.push_str("\u{1b}[0m");
            }
            lines.push('\n');
        }
        lines
    }

    /// Draws a PNG image of two colours.
    ///
    /// # Errors
    /// The encoder's.
    pub(crate) fn to_png(&self) -> miette::Result<Vec<u8>> {
        let pixels = self.side * MODULE_PIXELS;
        let side = u32::try_from(pixels).into_diagnostic()?;
        let mut rows = Vec::with_capacity(pixels * pixels.div_ceil(8));
        for row in 0..pixels {
            let dark =
                |pixel: usize| pixel < pixels && self.is_dark(row / MODULE_PIXELS, pixel / MODULE_PIXELS);
            for first in (0..pixels).step_by(8) {
                rows.push((first..first + 8).fold(0, |byte, pixel| byte << 1 | u8::from(dark(pixel))));
            }
        }
        let mut image = Vec::new();
        let mut encoder = png::Encoder::new(&mut image, side, side);
        encoder.set_color(png::ColorType::Indexed);
        encoder.set_depth(png::BitDepth::One);
        encoder.set_palette([[0xff; 3], self.ink.rgb()].concat());
        let mut writer = encoder.write_header().into_diagnostic()?;
        writer.write_image_data(&rows).into_diagnostic()?;
        writer.finish().into_diagnostic()?;
        Ok(image)
    }

    /// Writes the image to a file only its owner may read: whoever has it can show it.
    ///
    /// # Errors
    /// Names the file. One that is there is kept unless `existing` says otherwise.
    pub(crate) fn save(&self, path: &Path, existing: Existing) -> miette::Result<()> {
        match write_secret(path, &self.to_png()?, existing) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                Err(miette!(help = "--force replaces it", "{} is there already", path.display()))
            }
            other => other.into_diagnostic().wrap_err_with(|| format!("cannot write {}", path.display())),
        }
    }
}
