//! Reading calls, for stores that stand before another one and change only what
//! is written.

/// Passes every call that reads on to `self.inner`: the body of an
/// `impl Archive`.
#[macro_export]
macro_rules! pass_reads_on {
    () => {
        $crate::pass_reads_on! {
            read(job: &notify_core::JobId, after: u64, limit: usize)
                -> Option<notify_core::store::Page>;
            job(job: &notify_core::JobId) -> Option<notify_core::store::JobView>;
            jobs(status: Option<notify_core::JobStatus>, list: notify_core::store::List)
                -> notify_core::store::Listed<notify_core::store::JobView>;
            token(job: &notify_core::JobId) -> Option<notify_core::store::TokenHash>;
            deliveries(job: &notify_core::JobId, list: notify_core::store::List)
                -> notify_core::store::Listed<notify_core::delivery::DeliveryView>;
            delivery(delivery: notify_core::DeliveryId)
                -> Option<notify_core::delivery::DeliveryView>;
            dead_letters(filter: notify_core::store::DeadFilter, list: notify_core::store::List)
                -> notify_core::store::Listed<notify_core::DeadLetter>;
            count_dead_letters(filter: notify_core::store::DeadFilter) -> u64;
            endpoint(endpoint: notify_core::EndpointId)
                -> Option<std::sync::Arc<notify_core::endpoint::Endpoint>>;
            endpoint_at(url: &notify_core::EndpointUrl)
                -> Option<std::sync::Arc<notify_core::endpoint::Endpoint>>;
            endpoints(list: notify_core::store::List)
                -> notify_core::store::Listed<std::sync::Arc<notify_core::endpoint::Endpoint>>;
            counters() -> notify_core::store::Counters;
        }
    };
    ($($call:ident($($name:ident: $type:ty),*) -> $answer:ty;)+) => {
        $(fn $call(&self, $($name: $type),*) -> notify_core::store::StoreResult<'_, $answer> {
            self.inner.$call($($name),*)
        })+
    };
}
