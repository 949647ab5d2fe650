//! Reading calls, for stores that stand before another one and change only what
//! is written.

/// Passes every call that only reads on to `self.inner`, except the one for an
/// endpoint, which every attempt makes.
macro_rules! pass_reads_on {
    () => {
        fn next_due(&self, now: Timestamp) -> ReadResult<'_, Option<Timestamp>> {
            self.inner.next_due(now)
        }

        fn read(&self, job: &JobId, after: u64, limit: usize) -> ReadResult<'_, Option<Page>> {
            self.inner.read(job, after, limit)
        }

        fn job(&self, job: &JobId) -> ReadResult<'_, Option<JobView>> {
            self.inner.job(job)
        }

        fn jobs(&self, status: Option<JobStatus>, list: List) -> ReadResult<'_, Listed<JobView>> {
            self.inner.jobs(status, list)
        }

        fn token(&self, job: &JobId) -> ReadResult<'_, Option<TokenHash>> {
            self.inner.token(job)
        }

        fn deliveries(&self, job: &JobId, list: List) -> ReadResult<'_, Listed<DeliveryView>> {
            self.inner.deliveries(job, list)
        }

        fn delivery(&self, delivery: DeliveryId) -> ReadResult<'_, Option<DeliveryView>> {
            self.inner.delivery(delivery)
        }

        fn dead_letters(
            &self,
            filter: DeadFilter,
            list: List,
        ) -> ReadResult<'_, Listed<DeadLetter>> {
            self.inner.dead_letters(filter, list)
        }

        fn count_dead_letters(&self, filter: DeadFilter) -> ReadResult<'_, u64> {
            self.inner.count_dead_letters(filter)
        }

        fn endpoint_at(&self, url: &EndpointUrl) -> ReadResult<'_, Option<Endpoint>> {
            self.inner.endpoint_at(url)
        }

        fn endpoints(&self, list: List) -> ReadResult<'_, Listed<Endpoint>> {
            self.inner.endpoints(list)
        }

        fn counters(&self) -> ReadResult<'_, Counters> {
            self.inner.counters()
        }
    };
}

pub(crate) use pass_reads_on;
