//! Signing and verifying a message of 3 KB with RSA-2048, beside viadkim's own cryptography and
//! mail-auth's.

#![allow(
    clippy::unwrap_used,
    unreachable_pub,
    dead_code,
    reason = "a measuring program: a failure is a panic, and its modules are its own"
)]

#[path = "../tests/dkim/oracle.rs"]
mod oracle;

#[path = "../tests/common/dns.rs"]
mod dns;

#[path = "../tests/dkim/message.rs"]
mod message;

use criterion::{Criterion, criterion_group, criterion_main};
use dns::{Dns, Say};
use filtermail::dkim::{DkimVerdict, KeyCache, PrivateKey, Signer, Verification};
use message::{Keys, Message};
use tokio::runtime::Runtime;

fn benchmark(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let dns = runtime.block_on(Dns::start());
    let keys = Keys::new(&dns.config_line());
    let key = keys.generate("rsa", PrivateKey::generate_rsa());
    let record = key.record().unwrap();
    dns.set("rsa._domainkey.chat.example", Say::txt(&record));
    let signer = Signer::load(&keys.config("rsa")).unwrap().unwrap();
    let cache = KeyCache::new(&keys.config("rsa")).unwrap();

    let plain = Message::sample(3000);
    let signed = plain.signed(&signer);
    let mut group = criterion.benchmark_group("dkim");
    group.bench_function("sign", |bencher| bencher.iter(|| plain.signatures(&signer)));
    let private = key.to_pem().unwrap();
    let signing = oracle::Viadkim::new(&private);
    group.bench_function("sign, viadkim", |bencher| {
        bencher.iter(|| runtime.block_on(signing.sign(&plain)));
    });

    assert_eq!(verify(&runtime, &signed, &cache), DkimVerdict::Valid);
    group.bench_function("verify", |bencher| {
        bencher.iter(|| verify(&runtime, &signed, &cache));
    });
    let mut crowded = signed.clone();
    for number in 0..100 {
        let tags = format!(" v=1; a=rsa-sha256; d=d{number}.example; s=x; h=From; bh=YQ==; b=YQ==");
        crowded = crowded.with("DKIM-Signature", &tags);
    }
    assert_eq!(verify(&runtime, &crowded, &cache), DkimVerdict::Valid);
    group.bench_function("verify, a hundred others' signatures", |bencher| {
        bencher.iter(|| verify(&runtime, &crowded, &cache));
    });

    let theirs = oracle::viadkim(&signed, &record);
    assert!(runtime.block_on(theirs));
    group.bench_function("verify, viadkim", |bencher| {
        bencher.iter(|| runtime.block_on(oracle::viadkim(&signed, &record)));
    });
    let theirs = oracle::MailAuth::new(&[("rsa._domainkey.chat.example", &record)]);
    assert!(runtime.block_on(theirs.verify(&signed)));
    group.bench_function("verify, mail-auth", |bencher| {
        bencher.iter(|| runtime.block_on(theirs.verify(&signed)));
    });
    group.finish();
}

fn verify(runtime: &Runtime, message: &Message, cache: &KeyCache) -> DkimVerdict {
    runtime.block_on(async {
        let mut verification = Verification::new();
        message.to_verification(&mut verification, cache);
        verification.finish().await
    })
}

criterion_group!(benches, benchmark);
criterion_main!(benches);
