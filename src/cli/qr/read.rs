//! Reading the QR code of an e-licence from an image: PNG, and PNG only.

use std::collections::BTreeSet;
use std::io::{Cursor, Read as _};
use std::path::Path;

use miette::{IntoDiagnostic as _, WrapErr as _, miette};

use crate::tokens::QR_PREFIX;

/// The largest file read: a photograph of a large screen.
const FILE_BYTES_MAX: u64 = 32 << 20;

/// The most pixels read: the memory one image may take, at a byte each.
const PIXELS_MAX: usize = 40_000_000;

/// What the decoder may take beside the pixels.
const DECODER_BYTES_MAX: usize = 8 << 20;

const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// The lightness of every pixel, 0 is black.
struct Grey {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

/// Reads the text of the one QR code in an image file.
///
/// # Errors
/// Says whether it is no image, holds no code, one that cannot be read, several, or one that is no e-licence's.
pub(crate) fn text_in(path: &Path) -> miette::Result<String> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .into_diagnostic()
        .wrap_err_with(|| format!("cannot read {}", path.display()))?;
    text_of(&bytes).wrap_err_with(|| format!("{} cannot be used", path.display()))
}

/// Reads the text of the one QR code in an image.
///
/// # Errors
/// As [`text_in`].
pub(super) fn text_of(image: &[u8]) -> miette::Result<String> {
    let grey = Grey::of_png(image)?;
    let mut texts = grey.texts(|lightness| lightness)?;
    if texts.is_empty() {
        // Light on dark: a screenshot of a terminal.
        texts = grey.texts(|lightness| !lightness)?;
    }
    let mut found = texts.into_iter();
    match (found.next(), found.next()) {
        (None, _) => Err(miette!(
            help = "cut the image so that the code fills it, with a light margin around",
            "the image holds no QR code"
        )),
        (Some(_), Some(_)) => {
            Err(miette!(help = "cut the image so that one code is left", "the image holds several QR codes"))
        }
        (Some(text), None) if text.starts_with(QR_PREFIX) => Ok(text),
        (Some(_), None) => Err(miette!(
            help = "let the driver show the QR code of the e-licence",
            "the QR code in the image is not an e-licence's"
        )),
    }
}

impl Grey {
    fn of_png(image: &[u8]) -> miette::Result<Self> {
        if image.len() as u64 > FILE_BYTES_MAX {
            return Err(miette!("the file is larger than 32 MiB"));
        }
        if !image.starts_with(SIGNATURE) {
            return Err(miette!(help = "save it as PNG", "this is no PNG image"));
        }
        let damaged = |error: png::DecodingError| miette!("this is no PNG image that can be read: {error}");
        let limits = png::Limits { bytes: DECODER_BYTES_MAX };
        let mut decoder = png::Decoder::new_with_limits(Cursor::new(image), limits);
        decoder.set_transformations(png::Transformations::normalize_to_color8());
        let mut reader = decoder.read_info().map_err(damaged)?;
        let (width, height) = (reader.info().width as usize, reader.info().height as usize);
        let too_large = || miette!(help = "make it smaller", "the image has more than 40 million pixels");
        if width.checked_mul(height).is_none_or(|pixels| pixels > PIXELS_MAX) {
            return Err(too_large());
        }
        let mut data = vec![0; reader.output_buffer_size().ok_or_else(too_large)?];
        let frame = reader.next_frame(&mut data).map_err(damaged)?;
        let samples = frame.color_type.samples();
        let rows = data.chunks(frame.line_size.max(1)).take(height);
        let pixels: Vec<u8> =
            rows.flat_map(|row| row.chunks_exact(samples).take(width)).map(lightness).collect();
        if pixels.len() != width * height || pixels.is_empty() {
            return Err(miette!("the image is empty"));
        }
        Ok(Self { width, height, pixels })
    }

    /// Finds the texts of all codes, each once.
    fn texts(&self, seen: impl Fn(u8) -> u8) -> miette::Result<BTreeSet<String>> {
        let mut prepared = rqrr::PreparedImage::prepare_from_greyscale(self.width, self.height, |x, y| {
            seen(self.pixels.get(y * self.width + x).copied().unwrap_or(u8::MAX))
        });
        let grids = prepared.detect_grids();
        let read: Vec<_> = grids.iter().map(rqrr::Grid::decode).collect();
        let texts: BTreeSet<String> = read.iter().flatten().map(|(_, text)| text.clone()).collect();
        match read.into_iter().find_map(Result::err) {
            Some(fault) if texts.is_empty() => Err(miette!(
                help = "photograph it again: straight, sharp and whole",
                "the QR code in the image cannot be read: {fault}"
            )),
            _ => Ok(texts),
        }
    }
}

/// Returns the lightness of a pixel on white: of grey or colour, with or without transparency.
fn lightness(samples: &[u8]) -> u8 {
    let (lightness, opacity) = match *samples {
        [grey] => (u32::from(grey), 255),
        [grey, opacity] => (u32::from(grey), u32::from(opacity)),
        [red, green, blue] => (luma(red, green, blue), 255),
        [red, green, blue, opacity] => (luma(red, green, blue), u32::from(opacity)),
        _ => (255, 255),
    };
    let on_white = (lightness * opacity + 255 * (255 - opacity)) / 255;
    u8::try_from(on_white).unwrap_or(u8::MAX)
}

/// ITU-R BT.601, in 256ths.
fn luma(red: u8, green: u8, blue: u8) -> u32 {
    (77 * u32::from(red) + 150 * u32::from(green) + 29 * u32::from(blue)) >> 8
}
