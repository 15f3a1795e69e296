//! What the bytes of a picture say before decoding: real format, completeness, number of frames.

use image::ImageFormat;

/// The formats that are read. Decided by content, never by a file name.
pub fn format_of(bytes: &[u8]) -> Option<ImageFormat> {
    use ImageFormat as F;
    let format = image::guess_format(bytes).ok()?;
    matches!(format, F::Jpeg | F::Png | F::Gif | F::Bmp | F::Tiff | F::WebP).then_some(format)
}

/// The name of a format that is known but not read, or of something that is no picture at all.
pub fn other_format(bytes: &[u8]) -> Option<&'static str> {
    let starts = |magic: &[u8]| bytes.starts_with(magic);
    let at = |offset: usize, magic: &[u8]| bytes.get(offset..).is_some_and(|b| b.starts_with(magic));
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(64)]).trim_start().to_ascii_lowercase();
    let named = [
        (at(128, b"DICM"), "DICOM"),
        (starts(b"\x00\x00\x00\x0cjP") || starts(b"\xff\x4f\xff\x51"), "JPEG 2000"),
        (at(4, b"ftypavif"), "AVIF"),
        (at(4, b"ftyphei") || at(4, b"ftypmif1"), "HEIC"),
        (starts(b"\xff\x0a") || at(4, b"JXL "), "JPEG XL"),
        (starts(b"%PDF"), "PDF"),
        (starts(b"\x1f\x8b"), "gzip, perhaps NIfTI"),
        (at(344, b"n+1\0"), "NIfTI"),
        (starts(b"8BPS"), "Photoshop"),
        (starts(b"v/1\x01"), "OpenEXR"),
        (starts(b"\x93NUMPY"), "a NumPy array"),
        (text.starts_with("<!doctype html") || text.starts_with("<html"), "an HTML page"),
        (text.starts_with("<svg") || text.starts_with("<?xml"), "SVG or XML"),
        (text.starts_with("version https://git-lfs"), "a Git LFS pointer"),
    ];
    named.into_iter().find(|(yes, _)| *yes).map(|(_, name)| name)
}

/// What a walk over a JPEG's markers finds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JpegFacts {
    /// 1 grey, 3 colour, 4 CMYK; 0 when no frame header was seen.
    pub components: u8,
    /// The end-of-image marker is there. Decoders fill a missing end with grey without a word.
    pub complete: bool,
}

/// Walks the markers (ITU T.81 annex B). An end marker inside a segment, as of an embedded thumbnail, does not count.
pub fn jpeg_facts(bytes: &[u8]) -> JpegFacts {
    let mut facts = JpegFacts::default();
    let mut at = 2;
    while let Some(marker) = next_marker(bytes, &mut at) {
        match marker {
            0xD9 => {
                facts.complete = true;
                break;
            }
            // Without a length: start, restart marks, TEM.
            0xD8 | 0xD0..=0xD7 | 0x01 => {}
            _ => {
                let Some(length) = bytes.get(at..at + 2) else { break };
                if is_frame(marker) {
                    facts.components = bytes.get(at + 7).copied().unwrap_or(0);
                }
                at += usize::from(u16::from_be_bytes([length[0], length[1]])).max(2);
            }
        }
    }
    facts
}

/// The next marker at or after `at`, past entropy-coded data; `at` moves behind it.
fn next_marker(bytes: &[u8], at: &mut usize) -> Option<u8> {
    loop {
        let rest = bytes.get(*at..)?;
        let found = rest.iter().position(|b| *b == 0xFF)?;
        *at += found + 1;
        match bytes.get(*at)? {
            // A stuffed 0xFF in the data, or a fill byte in front of the marker.
            0x00 => *at += 1,
            0xFF => {}
            marker => {
                *at += 1;
                return Some(*marker);
            }
        }
    }
}

fn is_frame(marker: u8) -> bool {
    matches!(marker, 0xC0..=0xCF) && !matches!(marker, 0xC4 | 0xC8 | 0xCC)
}

/// What a walk over a PNG's chunks finds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PngFacts {
    pub bit_depth: u8,
    /// 0 grey, 2 colour, 3 palette, 4 grey + alpha, 6 colour + alpha.
    pub color_type: u8,
    /// A chunk makes one colour, or palette entries, transparent.
    pub transparent: bool,
    pub animated: bool,
    /// Something that Pillow may refuse, and the whole picture with it: a chunk with an odd name or a wrong checksum, or
    /// text that unpacked may exceed 1 MiB (`PngImagePlugin.MAX_TEXT_CHUNK`), as 1,016 bytes can at DEFLATE's highest
    /// ratio of 1,032.
    pub irregular: bool,
    /// There is a colour profile.
    pub profile: bool,
    /// The end chunk is there.
    pub complete: bool,
}

impl PngFacts {
    /// 8-bit grey or RGB, one frame, nothing transparent, nothing that Pillow may refuse.
    pub fn is_plain(&self) -> bool {
        self.bit_depth == 8
            && matches!(self.color_type, 0 | 2)
            && !self.transparent
            && !self.animated
            && !self.irregular
    }
}

/// Walks the chunks (length, name, data, CRC) up to the end chunk.
pub fn png_facts(bytes: &[u8]) -> PngFacts {
    let mut facts = PngFacts::default();
    let mut at = 8;
    while let Some(head) = bytes.get(at..at + 8) {
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        facts.irregular |= !is_regular(&bytes[at + 4..], length);
        match &head[4..] {
            b"IHDR" => {
                facts.bit_depth = bytes.get(at + 16).copied().unwrap_or(0);
                facts.color_type = bytes.get(at + 17).copied().unwrap_or(0);
            }
            b"tRNS" => facts.transparent = true,
            b"acTL" => facts.animated = true,
            b"iCCP" => facts.profile = true,
            b"zTXt" | b"iTXt" => facts.irregular |= length > 1016,
            b"IEND" => {
                facts.complete = bytes.len() >= at + 12;
                break;
            }
            _ => {}
        }
        at = at.saturating_add(12).saturating_add(length);
    }
    facts
}

/// Whether a chunk, from its name on, has a name of letters and the right checksum. That of pixel data is left to the
/// decoder; other data of more than 1 MiB counts as irregular.
fn is_regular(chunk: &[u8], length: usize) -> bool {
    let name = chunk.get(..4).is_some_and(|name| name.iter().all(u8::is_ascii_alphabetic));
    let pixels = chunk.starts_with(b"IDAT");
    let checked = || {
        let (data, crc) = chunk.split_at_checked(length + 4)?;
        Some(u32::from_be_bytes(*crc.first_chunk()?) == crc32(data))
    };
    name && (pixels || (length <= 1 << 20 && checked() == Some(true)))
}

/// CRC-32 as PNG has it (ISO 3309), bit by bit: the chunks are small.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_marker_inside_a_segment_or_as_data_is_not_the_end() {
        let start = [0xFF, 0xD8, 0xFF, 0xE1, 0x00, 0x06, 0xFF, 0xD9, 0xFF, 0xD9];
        assert!(!jpeg_facts(&start).complete);
        let frame = [0xFF, 0xC0, 0x00, 0x08, 8, 0, 1, 0, 1, 4];
        let scan = [0xFF, 0xDA, 0x00, 0x02, 1, 2, 0xFF, 0x00, 0xFF, 0xD0, 3];
        let open = [&start[..], &frame, &scan].concat();
        assert_eq!(jpeg_facts(&open), JpegFacts { components: 4, complete: false });
        let closed = [&open[..], &[0xFF, 0xD9], b"garbage"].concat();
        assert_eq!(jpeg_facts(&closed), JpegFacts { components: 4, complete: true });
    }

    #[test]
    fn damaged_lengths_end_the_walk() {
        assert!(!png_facts(b"\x89PNG\r\n\x1a\n\xff\xff\xff\xffIDAT").complete);
        assert!(!jpeg_facts(&[0xFF, 0xD8, 0xFF, 0xE0, 0xFF]).complete);
        assert!(!jpeg_facts(&[]).complete && !png_facts(&[]).complete);
    }
}
