use super::*;
use proptest::prelude::*;
use rstest::rstest;

/// The message, how it ended, and what was left; `None` when it has not ended.
type Decoded = Option<(Vec<u8>, Result<(), DataFault>, Vec<u8>)>;

fn decode(pieces: &[&[u8]], size_max: u64) -> Decoded {
    let mut decoder = DataDecoder::new(size_max);
    let mut message = Vec::new();
    for (at, mut piece) in pieces.iter().copied().enumerate() {
        if let DataProgress::End(end) = decoder.take(&mut piece, &mut message) {
            let left = [&[piece], &pieces[at + 1..]].concat().concat();
            return Some((message, end, left));
        }
        assert!(piece.is_empty());
    }
    None
}

fn cut<'a>(octets: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<_> = cuts.iter().map(|&cut| cut.min(octets.len())).collect();
    cuts.extend([0, octets.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|cut| &octets[cut[0]..cut[1]]).collect()
}

fn encode(pieces: &[&[u8]]) -> Result<Vec<u8>, DataFault> {
    let mut encoder = DataEncoder::default();
    let mut out = Vec::new();
    for piece in pieces {
        encoder.push(piece, &mut out)?;
    }
    encoder.finish(&mut out)?;
    Ok(out)
}

#[rstest]
#[case::empty(b".\r\n", b"")]
#[case::empty_line(b"\r\n.\r\n", b"\r\n")]
#[case::text(b"one\r\ntwo\r\n.\r\n", b"one\r\ntwo\r\n")]
#[case::dots(b"..\r\n...x\r\na.b\r\n.c\r\n.\r\n", b".\r\n..x\r\na.b\r\nc\r\n")]
#[case::beyond_ascii(b"\xff\xfe\r\n.\r\n", b"\xff\xfe\r\n")]
fn good_messages(#[case] wire: &[u8], #[case] message: &[u8]) {
    let stream = [wire, b"QUIT\r\n"].concat();
    let expected = Some((message.to_vec(), Ok(()), b"QUIT\r\n".to_vec()));
    assert_eq!(decode(&[&stream], 1000), expected);
    let octets: Vec<_> = stream.chunks(1).collect();
    assert_eq!(decode(&octets, 1000), expected);
}

/// None of the endings that smugglers try is an end.
#[rstest]
#[case::lf_lf(b"a\n.\n")]
#[case::lf_crlf(b"a\n.\r\n")]
#[case::crlf_lf(b"a\r\n.\n")]
#[case::cr_cr(b"a\r.\r")]
#[case::cr_crlf(b"a\r.\r\n")]
#[case::crlf_cr(b"a\r\n.\rb")]
#[case::cr_lf_cr(b"a\r\n\r.\r\n")]
#[case::lf_cr(b"a\n\r.\n\r")]
#[case::bare_at_the_start(b"\n.\r\n")]
#[case::dot_at_the_start(b".\nb")]
#[case::crcrlf(b"a\r\r\n")]
fn smuggled_endings_are_faults(#[case] wire: &[u8]) {
    let smuggled = b"MAIL FROM:<a@x.org>\r\n.\r\n";
    let stream = [wire, b"\r\n", smuggled, b"QUIT\r\n"].concat();
    let pieces: Vec<_> = stream.chunks(1).collect();
    for pieces in [vec![stream.as_slice()], pieces] {
        let (_, end, left) = decode(&pieces, 1000).expect("an end");
        assert_eq!(end, Err(DataFault::BareLineEnding));
        assert_eq!(left, b"QUIT\r\n");
    }
}

#[test]
fn nul_is_a_fault() {
    let (message, end, _) = decode(&[b"a\0b\r\n.\r\n"], 1000).expect("an end");
    assert_eq!((message.as_slice(), end), (&b"a"[..], Err(DataFault::Nul)));
    assert_eq!(encode(&[b"a\0"]), Err(DataFault::Nul));
}

#[test]
fn size_has_a_limit() {
    let wire = b"..234\r\n.\r\nQUIT";
    let decoded = |size| decode(&[wire], size).expect("an end");
    assert_eq!(decoded(6), (b".234\r\n".to_vec(), Ok(()), b"QUIT".to_vec()));
    let (message, end, left) = decoded(5);
    assert!(message.len() <= 5);
    assert_eq!(end, Err(DataFault::TooLarge));
    assert_eq!(left, b"QUIT");
}

#[rstest]
#[case(b"", b".\r\n")]
#[case(b"a", b"a\r\n.\r\n")]
#[case(b".", b"..\r\n.\r\n")]
#[case(b".\r\n", b"..\r\n.\r\n")]
#[case(b"a\r\n.b\r\n..\r\n", b"a\r\n..b\r\n...\r\n.\r\n")]
fn dots_are_doubled(#[case] message: &[u8], #[case] wire: &[u8]) {
    let octets: Vec<_> = message.chunks(1).collect();
    assert_eq!(encode(&[message]).as_deref(), Ok(wire));
    assert_eq!(encode(&octets).as_deref(), Ok(wire));
}

#[rstest]
#[case(b"a\nb")]
#[case(b"a\rb")]
#[case(b"a\r\r\n")]
#[case(b"a\r")]
#[case(b"\n.\n")]
fn bare_line_ends_are_not_sent(#[case] message: &[u8]) {
    let octets: Vec<_> = message.chunks(1).collect();
    assert_eq!(encode(&[message]), Err(DataFault::BareLineEnding));
    assert_eq!(encode(&octets), Err(DataFault::BareLineEnding));
}

proptest! {
    #[test]
    fn what_is_written_reads_back(
        lines in proptest::collection::vec("[.a ]{0,5}|[^\r\n\\x00]{0,20}", 0..8),
        cuts in proptest::collection::vec(0_usize..80, 0..8),
    ) {
        let message: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        let wire = encode(&cut(message.as_bytes(), &cuts)).unwrap();
        let expected = Some((message.into_bytes(), Ok(()), Vec::new()));
        prop_assert_eq!(decode(&cut(&wire, &cuts), 1000), expected);
    }

    #[test]
    fn pieces_do_not_matter(
        wire in "[.a\r\n\\x00]{0,40}|(\r\n|\\.|a){0,40}",
        cuts in proptest::collection::vec(0_usize..40, 0..8),
        size_max in 0_u64..40,
    ) {
        let whole = decode(&[wire.as_bytes()], size_max);
        prop_assert_eq!(decode(&cut(wire.as_bytes(), &cuts), size_max), whole);
        let encoded = encode(&[wire.as_bytes()]);
        prop_assert_eq!(encode(&cut(wire.as_bytes(), &cuts)), encoded);
    }

    /// The end is where CRLF, dot, CRLF first stands, the start counting as a CRLF.
    #[test]
    fn only_one_sequence_ends_a_message(wire in "(\r|\n|\r\n|\\.|a){0,40}") {
        let stream = format!("\r\n{wire}");
        let end = stream.find("\r\n.\r\n").map(|at| stream.as_bytes()[at + 5..].to_vec());
        let decoded = decode(&[wire.as_bytes()], 1000);
        prop_assert_eq!(decoded.map(|(_, _, left)| left), end);
    }
}
