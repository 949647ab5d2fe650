//! What verifying takes from the allocator, counted.

use allocation_counter::measure;
use notify_bench::message::{Message, SECRET};
use notify_verify::Verifier;

#[test]
fn a_message_that_holds_is_verified_without_an_allocation() {
    let verifier = Verifier::new([SECRET]).unwrap();
    for bytes in [200, 1024, 256 * 1024] {
        let message = Message::with_body_of(bytes);
        let allocated = measure(|| {
            let proof = verifier.verify_bytes(&message.headers, &message.body);
            proof.unwrap();
        });
        assert_eq!(allocated.count_total, 0, "{bytes} bytes");
    }
}

#[test]
fn the_count_counts() {
    let allocated = measure(|| {
        std::hint::black_box(vec![0; 10]);
    });
    assert_eq!(allocated.count_total, 1);
}
