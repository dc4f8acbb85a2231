//! Canonicalization and hash of a body that comes in pieces (RFC 6376 sections 3.4.3, 3.4.4, 3.7).
//!
//! Only CRLF ends a line; a lone CR or LF is text. What may turn out to be the empty lines at the
//! body's end, or white space at a line's end, is held back as counts, never as octets.

use aws_lc_rs::digest::{Context, Digest, SHA256};
use viadkim::signature::CanonicalizationAlgorithm;

const CRLF: &[u8] = b"\r\n";

/// Octets that are canonicalized at a time; bounds the memory of the relaxed algorithm.
const PIECE: usize = 16 << 10;

/// SHA-256 over a canonical body.
pub(super) struct BodyHash {
    canonicalizer: Canonicalizer,
    sink: Sink,
}

enum Canonicalizer {
    Simple(Simple),
    Relaxed(Relaxed),
}

/// What the canonical octets go to.
struct Sink {
    context: Context,
    length: u64,
}

/// Line ends at the end of what was seen: some CRLF, then perhaps half of one.
#[derive(Default)]
struct Simple {
    line_ends: u64,
    half: bool,
}

/// As [`Simple`], with white space that may stand at a line's end between the two.
#[derive(Default)]
struct Relaxed {
    line_ends: u64,
    space: bool,
    half: bool,
    /// Whether anything but blank lines was seen.
    text: bool,
    /// The canonical form of a piece, kept for its memory.
    scratch: Vec<u8>,
}

impl BodyHash {
    pub(super) fn new(algorithm: CanonicalizationAlgorithm) -> Self {
        let canonicalizer = match algorithm {
            CanonicalizationAlgorithm::Simple => Canonicalizer::Simple(Simple::default()),
            CanonicalizationAlgorithm::Relaxed => Canonicalizer::Relaxed(Relaxed::default()),
        };
        let sink = Sink {
            context: Context::new(&SHA256),
            length: 0,
        };
        Self {
            canonicalizer,
            sink,
        }
    }

    pub(super) fn update(&mut self, chunk: &[u8]) {
        match &mut self.canonicalizer {
            Canonicalizer::Simple(simple) => simple.update(chunk, &mut self.sink),
            Canonicalizer::Relaxed(relaxed) => {
                for piece in chunk.chunks(PIECE) {
                    relaxed.update(piece, &mut self.sink);
                }
            }
        }
    }

    /// The hash, and the length of the canonical body.
    pub(super) fn finish(mut self) -> (Digest, u64) {
        match self.canonicalizer {
            Canonicalizer::Simple(simple) => simple.finish(&mut self.sink),
            Canonicalizer::Relaxed(relaxed) => relaxed.finish(&mut self.sink),
        }
        (self.sink.context.finish(), self.sink.length)
    }
}

impl Sink {
    fn push(&mut self, octets: &[u8]) {
        self.context.update(octets);
        self.length += octets.len() as u64;
    }

    fn line_ends(&mut self, count: u64) {
        for _ in 0..count {
            self.push(CRLF);
        }
    }
}

impl Simple {
    fn update(&mut self, chunk: &[u8], sink: &mut Sink) {
        let rest = self.skip_line_ends(chunk);
        if rest.is_empty() {
            return;
        }
        self.release(sink);
        let mut text = rest.strip_suffix(b"\r").unwrap_or(rest);
        self.half = text.len() < rest.len();
        while let Some(shorter) = text.strip_suffix(CRLF) {
            text = shorter;
            self.line_ends += 1;
        }
        sink.push(text);
    }

    /// What follows the line ends at the start of `chunk`, which are counted.
    fn skip_line_ends<'a>(&mut self, chunk: &'a [u8]) -> &'a [u8] {
        for (at, octet) in chunk.iter().enumerate() {
            match (self.half, octet) {
                (false, b'\r') => self.half = true,
                (true, b'\n') => {
                    self.half = false;
                    self.line_ends += 1;
                }
                _ => return chunk.get(at..).unwrap_or_default(),
            }
        }
        &[]
    }

    fn release(&mut self, sink: &mut Sink) {
        sink.line_ends(std::mem::take(&mut self.line_ends));
        if std::mem::take(&mut self.half) {
            sink.push(b"\r");
        }
    }

    fn finish(mut self, sink: &mut Sink) {
        if self.half {
            self.release(sink);
        }
        sink.push(CRLF);
    }
}

impl Relaxed {
    fn update(&mut self, piece: &[u8], sink: &mut Sink) {
        let mut rest = piece;
        while let Some((&octet, tail)) = rest.split_first() {
            match octet {
                b'\n' if self.half => {
                    (self.half, self.space) = (false, false);
                    self.line_ends += 1;
                    rest = tail;
                }
                b'\r' => {
                    self.release_half(sink);
                    self.half = true;
                    rest = tail;
                }
                b' ' | b'\t' => {
                    self.release_half(sink);
                    self.space = true;
                    rest = tail;
                }
                _ => {
                    self.release(sink);
                    let special = |octet: &u8| matches!(octet, b' ' | b'\t' | b'\r');
                    let end = rest.iter().position(special).unwrap_or(rest.len());
                    let (text, tail) = rest.split_at(end);
                    self.scratch.extend_from_slice(text);
                    rest = tail;
                }
            }
        }
        sink.push(&self.scratch);
        self.scratch.clear();
    }

    /// A CR without its LF is text.
    fn release_half(&mut self, sink: &mut Sink) {
        if self.half {
            self.release(sink);
        }
    }

    /// Text follows: what was held back belongs to the body.
    fn release(&mut self, sink: &mut Sink) {
        if self.line_ends > 0 {
            // Empty lines may be many more than a piece holds.
            sink.push(&self.scratch);
            self.scratch.clear();
            sink.line_ends(std::mem::take(&mut self.line_ends));
        }
        if std::mem::take(&mut self.space) {
            self.scratch.push(b' ');
        }
        if std::mem::take(&mut self.half) {
            self.scratch.push(b'\r');
        }
        self.text = true;
    }

    fn finish(mut self, sink: &mut Sink) {
        self.release_half(sink);
        sink.push(&self.scratch);
        if self.text {
            sink.push(CRLF);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;
    use viadkim::canonicalize::BodyCanonicalizer;

    fn ours(algorithm: CanonicalizationAlgorithm, chunks: &[&[u8]]) -> (Vec<u8>, u64) {
        let mut hash = BodyHash::new(algorithm);
        for chunk in chunks {
            hash.update(chunk);
        }
        let (digest, length) = hash.finish();
        (digest.as_ref().to_vec(), length)
    }

    fn of(canonical: &[u8]) -> (Vec<u8>, u64) {
        let digest = aws_lc_rs::digest::digest(&SHA256, canonical);
        (digest.as_ref().to_vec(), canonical.len() as u64)
    }

    #[rstest]
    #[case("", "\r\n", "")]
    #[case("\r\n", "\r\n", "")]
    #[case("\r\n\r\n", "\r\n", "")]
    #[case(" \r\n\t\r\n", " \r\n\t\r\n", "")]
    #[case(" ", " \r\n", "")]
    #[case("a", "a\r\n", "a\r\n")]
    #[case("a\r\n\r\n\r\n", "a\r\n", "a\r\n")]
    #[case("\r\na", "\r\na\r\n", "\r\na\r\n")]
    #[case("a \t b \r\nc", "a \t b \r\nc\r\n", "a b\r\nc\r\n")]
    #[case(" a\r\n \r\n b", " a\r\n \r\n b\r\n", " a\r\n\r\n b\r\n")]
    #[case("a\r", "a\r\r\n", "a\r\r\n")]
    #[case("a\n\n", "a\n\n\r\n", "a\n\n\r\n")]
    fn bodies(#[case] body: &str, #[case] simple: &str, #[case] relaxed: &str) {
        let body = [body.as_bytes()];
        let ours_simple = ours(CanonicalizationAlgorithm::Simple, &body);
        assert_eq!(ours_simple, of(simple.as_bytes()));
        let ours_relaxed = ours(CanonicalizationAlgorithm::Relaxed, &body);
        assert_eq!(ours_relaxed, of(relaxed.as_bytes()));
    }

    proptest! {
        #[test]
        fn as_viadkim_has_it_however_it_is_cut(
            pieces in proptest::collection::vec(
                proptest::sample::select(vec!["a", "b c", " ", "\t", "\r\n", "\r", "\n"]), 0..40),
            cut in 1_usize..7,
        ) {
            let body = pieces.concat();
            let chunks: Vec<&[u8]> = body.as_bytes().chunks(cut).collect();
            for algorithm in [CanonicalizationAlgorithm::Simple, CanonicalizationAlgorithm::Relaxed] {
                let mut theirs = BodyCanonicalizer::new(algorithm);
                let mut canonical = theirs.canonicalize_chunk(body.as_bytes()).into_owned();
                canonical.extend_from_slice(&theirs.finish());
                prop_assert_eq!(ours(algorithm, &chunks), of(&canonical));
            }
        }
    }

    #[test]
    fn a_body_of_empty_lines_holds_no_memory() {
        let mut hash = BodyHash::new(CanonicalizationAlgorithm::Relaxed);
        for _ in 0..1000 {
            hash.update(&CRLF.repeat(1000));
        }
        let Canonicalizer::Relaxed(relaxed) = &hash.canonicalizer else {
            unreachable!()
        };
        assert!(relaxed.scratch.capacity() <= 2 * PIECE);
        hash.update(b"x");
        assert_eq!(hash.finish().1, 2_000_000 + 3);
    }
}
