//! Octets a second of the gate on a large encrypted message, beside a bare base64 decode.

use base64_simd::{AsOut, STANDARD};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use filtermail::gate::{Class, Direction, Gate};
use rand::{RngCore, SeedableRng, rngs::SmallRng};

/// Octets of the whole message.
const SIZE: usize = 30 * 1024 * 1024;
/// The largest body chunk that Postfix hands to a milter.
const CHUNK: usize = 65_535;

fn benchmark(criterion: &mut Criterion) {
    let data = message_data(SIZE / 66 * 48);
    let flat = STANDARD.encode_to_string(&data).into_bytes();
    let body = message_body(&flat);
    let mut group = criterion.benchmark_group("gate");
    group.sample_size(20);

    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function("armored message", |bencher| bencher.iter(|| judge(&body)));

    let mut decoded = vec![0; data.len()];
    group.throughput(Throughput::Bytes(flat.len() as u64));
    group.bench_function("flat base64-simd decode", |bencher| {
        bencher.iter(|| {
            STANDARD
                .decode(&flat, decoded.as_mut_slice().as_out())
                .map(|d| d.len())
        });
    });
    group.finish();
}

fn judge(body: &[u8]) {
    let mut gate = Gate::new(Direction::Outgoing);
    gate.header(b"From", b" <a@example.org>");
    gate.header(b"Content-Type", b" multipart/encrypted; boundary=b");
    gate.end_of_headers();
    for chunk in body.chunks(CHUNK) {
        gate.body(chunk);
    }
    assert_eq!(gate.finish().class, Class::Encrypted);
}

/// A session key for one hidden X25519 recipient and a SEIPD packet of version 2.
fn message_data(length: usize) -> Vec<u8> {
    let mut rng = SmallRng::seed_from_u64(1);
    let mut random = |length: usize| {
        let mut bytes = vec![0; length];
        rng.fill_bytes(&mut bytes);
        bytes
    };
    let mut point = random(32);
    point[31] &= 0x7F;
    let header = [0xC1, 1 + 1 + 1 + 32 + 1 + 40, 6, 0, 25];
    let head = [&header, point.as_slice(), &[40], &random(40)].concat();
    let left = length - head.len() - 6;
    let seipd = [
        &[0xD2, 255],
        (left as u32).to_be_bytes().as_slice(),
        &[2, 9, 2, 6],
    ]
    .concat();
    [head, seipd, random(left - 4)].concat()
}

fn message_body(base64: &[u8]) -> Vec<u8> {
    let mut body = b"--b\r\nContent-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n\
        --b\r\nContent-Type: application/octet-stream\r\n\r\n\
        -----BEGIN PGP MESSAGE-----\r\n\r\n"
        .to_vec();
    for line in base64.chunks(64) {
        body.extend_from_slice(line);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"-----END PGP MESSAGE-----\r\n--b--\r\n");
    body
}

criterion_group!(benches, benchmark);
criterion_main!(benches);
