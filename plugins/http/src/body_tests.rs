//! Bodies in every cut: lengths, chunks, and what must not be taken for them.

use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

use super::*;

/// Pushes `input` in pieces of `n_step` bytes; the body and how many bytes were left over.
fn decode(input: &[u8], n_step: usize, framing: Framing) -> Result<Option<(Vec<u8>, usize)>, Refusal> {
    let mut decoder = Decoder::new(framing, 100)?;
    let mut n_taken = 0;
    for piece in input.chunks(n_step) {
        n_taken += decoder.push(piece)?;
    }
    Ok(decoder.is_done().then(|| (decoder.into_body(), input.len() - n_taken)))
}

fn check(input: &str, framing: Framing, expected: Result<Option<(&str, usize)>, Refusal>) {
    for n_step in [1, 2, 3, 7, 1000] {
        let expected = expected.as_ref().map(|o| o.map(|(body, n)| (body.as_bytes().to_vec(), n)));
        assert_eq!(
            decode(input.as_bytes(), n_step, framing).as_ref(),
            expected.as_ref().map_err(|e| *e),
            "{input:?}"
        );
    }
}

#[test]
fn bodies_of_known_length() {
    check("", Framing::Length(0), Ok(Some(("", 0))));
    check("abcdef", Framing::Length(4), Ok(Some(("abcd", 2))));
    check("abc", Framing::Length(4), Ok(None));
    check("", Framing::Length(101), Err(Refusal::BodyTooLarge));
    check("", Framing::Length(u64::MAX), Err(Refusal::BodyTooLarge));
}

#[test]
fn chunked_bodies() {
    let size = || Refusal::Broken("a chunk size is not a hexadecimal number");
    let line_end = || Refusal::Broken("a line between chunks does not end with CRLF");
    let ext = format!("4;{}\r\n", "e".repeat(2000));
    let trailers = format!("0\r\n{}", "t: 12345678\r\n".repeat(1000));
    for (input, expected) in [
        ("4\r\nabcd\r\n0\r\n\r\nNEXT", Ok(Some(("abcd", 4)))),
        ("0\r\n\r\n", Ok(Some(("", 0)))),
        ("1\r\na\r\nA;x=y\r\n0123456789\r\n00\r\nTrailer: 1\r\n\r\n", Ok(Some(("a0123456789", 0)))),
        ("1 \r\na\r\n0\r\n\r\n", Ok(Some(("a", 0)))),
        ("4\r\nabcd\r\n0\r\n", Ok(None)),
        ("4\r\nabcde\r\n", Err(Refusal::Broken("a chunk is longer than its size"))),
        ("4\nabcd\r\n", Err(line_end())),
        ("4\r\nabcd\n", Err(line_end())),
        ("\r\n", Err(size())),
        ("-1\r\n", Err(size())),
        ("+1\r\n", Err(size())),
        ("0x1\r\n", Err(size())),
        (" 1\r\n", Err(size())),
        (";x\r\n", Err(size())),
        ("65\r\n", Err(Refusal::BodyTooLarge)),
        ("1\r\na\r\n64\r\n", Err(Refusal::BodyTooLarge)),
        ("FFFFFFFFFFFFFFFFFF\r\n", Err(Refusal::BodyTooLarge)),
        (&ext, Err(Refusal::Broken("a line between chunks is too long"))),
        (&trailers, Err(Refusal::HeadTooLarge)),
    ] {
        check(input, Framing::Chunked, expected);
    }
}

#[test]
fn memory_follows_what_arrived() {
    let mut decoder = Decoder::new(Framing::Length(25 << 20), 25 << 20).unwrap();
    decoder.push(b"x").unwrap();
    assert!(decoder.body.capacity() <= N_GROWTH_BYTES);
    for _ in 0..400 {
        decoder.push(&[0; 32 << 10]).unwrap();
        assert!(decoder.body.capacity() <= decoder.body.len() * 5 / 4 + N_GROWTH_BYTES);
    }
}

proptest! {
    #[test]
    fn any_bytes_never_panic_nor_pass_the_limit(input: Vec<u8>, n_step in 1_usize..40, chunked: bool, n in 0_u64..200) {
        let framing = if chunked { Framing::Chunked } else { Framing::Length(n) };
        if let Ok(Some((body, n_left))) = decode(&input, n_step, framing) {
            prop_assert!(body.len() <= 100 && n_left <= input.len());
        }
    }

    #[test]
    fn chunks_come_back_whole(body in proptest::collection::vec(any::<u8>(), 0..100), n_chunk in 1_usize..50, n_step in 1_usize..60) {
        let mut wire = Vec::new();
        for chunk in body.chunks(n_chunk) {
            wire.extend(format!("{:x}\r\n", chunk.len()).bytes());
            wire.extend(chunk);
            wire.extend(b"\r\n");
        }
        wire.extend(b"0\r\n\r\n");
        prop_assert_eq!(decode(&wire, n_step, Framing::Chunked), Ok(Some((body, 0))));
    }
}
