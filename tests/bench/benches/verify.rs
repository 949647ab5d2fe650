//! What it costs a receiver to verify a webhook, against the one thing that
//! can't be left out: the HMAC of the bytes that are signed.

use std::error::Error;
use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput};
use hmac::{Hmac, KeyInit, Mac};
use notify_bench::message::{Message, SECRET};
use notify_bench::ratios;
use notify_verify::Verifier;
use sha2::Sha256;

const FLOOR: &str = "HMAC-SHA256 of the signed bytes";

fn main() -> Result<(), Box<dyn Error>> {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .output_directory(&ratios::folder())
        .without_plots()
        .configure_from_args();
    for bytes in [1024, 64 * 1024] {
        side_by_side(&mut criterion, bytes)?;
    }
    criterion.final_summary();
    Ok(())
}

fn side_by_side(criterion: &mut Criterion, bytes: usize) -> Result<(), Box<dyn Error>> {
    let name = format!("a body of {bytes} bytes");
    let Message {
        headers,
        body,
        signed,
    } = Message::with_body_of(bytes);
    let key = b"1234567890123456789012345678901234567890";
    let keyed = Hmac::<Sha256>::new_from_slice(key)?;
    let verifier = Verifier::new([SECRET])?;
    let svix = svix::webhooks::Webhook::new(SECRET)?;
    let standardwebhooks = standardwebhooks::Webhook::new(SECRET)?;
    verifier.verify(&headers, &body)?;
    svix.verify(&body, &headers)?;
    standardwebhooks.verify(&body, &headers)?;

    ratios::forget(&name)?;
    let mut group = criterion.benchmark_group(&name);
    group.throughput(Throughput::Bytes(u64::try_from(bytes)?));
    group.bench_function(FLOOR, |bencher| {
        bencher.iter(|| {
            let keyed = Hmac::<Sha256>::new_from_slice(black_box(key));
            keyed.map(|mac| mac.chain_update(&signed).finalize())
        });
    });
    group.bench_function("the same, with its key prepared", |bencher| {
        bencher.iter(|| keyed.clone().chain_update(black_box(&signed)).finalize());
    });
    group.bench_function("notify-verify, the body unread", |bencher| {
        bencher.iter(|| verifier.verify_bytes(black_box(&headers), &body).is_ok());
    });
    group.bench_function("notify-verify, the body read", |bencher| {
        bencher.iter(|| verifier.verify(black_box(&headers), &body));
    });
    group.bench_function("standardwebhooks", |bencher| {
        bencher.iter(|| standardwebhooks.verify(black_box(&body), &headers));
    });
    group.bench_function("svix", |bencher| {
        bencher.iter(|| svix.verify(black_box(&body), &headers));
    });
    group.finish();
    ratios::print(&name, FLOOR)
}
