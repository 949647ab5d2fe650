//! The body of `POST /v1/jobs`, read strictly: what is refused is named, and a
//! field that has no meaning here is refused too.

use notify_core::JobStatus;
use notify_core::json::Text;
use notify_hub::{JobSpec, WebhookSpec};

use super::error::ApiError;
use super::object::{NO_SUCH_FIELD, each_field, optional, text};

/// The largest such body, in bytes: a URL of 2,048, a secret of 256, a job id of
/// 128, and room to spare.
pub(super) const BYTES_MAX: usize = 16 * 1024;

/// Reads the job to register; an empty body means one without any wishes.
pub(super) fn read(json: &[u8]) -> Result<JobSpec, ApiError> {
    if json.is_empty() {
        return Ok(JobSpec::default());
    }
    let body = Text::read(json).map_err(|_| ApiError::Malformed)?;
    let mut spec = JobSpec::default();
    each_field(body, "body", |name, value| {
        match name {
            "job_id" => spec.job_id = optional(value, |it| text("job_id", it))?,
            "webhook" => spec.webhook = optional(value, webhook)?,
            unknown => return Err(ApiError::field(unknown, NO_SUCH_FIELD)),
        }
        Ok(())
    })?;
    Ok(spec)
}

fn webhook(value: Text<'_>) -> Result<WebhookSpec, ApiError> {
    let mut url = None;
    let mut spec = WebhookSpec::default();
    each_field(value, "webhook", |name, value| {
        match name {
            "webhook.url" => url = Some(text(name, value)?),
            "webhook.secret" => spec.secret = optional(value, |it| text(name, it))?,
            "webhook.events" => spec.events = optional(value, statuses)?,
            unknown => return Err(ApiError::field(unknown, NO_SUCH_FIELD)),
        }
        Ok(())
    })?;
    spec.url = url.ok_or_else(|| ApiError::field("webhook.url", "must be there"))?;
    Ok(spec)
}

fn statuses(value: Text<'_>) -> Result<Vec<JobStatus>, ApiError> {
    const RULE: &str = "a list of queued, processing, completed, failed, cancelled";
    let wrong = || ApiError::field("webhook.events", RULE);
    let status = |item: Text<'_>| item.string()?.parse().ok();
    let statuses = value.items().ok_or_else(wrong)?.map(status);
    statuses.collect::<Option<_>>().ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_refused(json: &str, expected: &str) {
        match read(json.as_bytes()) {
            Err(ApiError::Field { field, .. }) => assert_eq!(field, expected, "{json}"),
            other => panic!("{json}: {other:?}"),
        }
    }

    #[test]
    fn every_wish_may_be_absent() {
        for json in ["", "{}", r#"{"job_id":null,"webhook":null}"#] {
            let spec = read(json.as_bytes()).unwrap();
            assert!(spec.job_id.is_none() && spec.webhook.is_none(), "{json}");
        }
        let spec = read(br#"{"webhook":{"url":"https://a.example/"}}"#).unwrap();
        let webhook = spec.webhook.unwrap();
        assert_eq!(webhook.url, "https://a.example/");
        assert!(webhook.secret.is_none() && webhook.events.is_none());
    }

    #[test]
    fn every_wish_is_read() {
        let spec = read(
            br#"{"job_id":"a","webhook":{"url":"u","secret":"s","events":["queued","failed"]}}"#,
        )
        .unwrap();
        let webhook = spec.webhook.unwrap();
        assert_eq!(spec.job_id.as_deref(), Some("a"));
        assert_eq!(webhook.secret.as_deref(), Some("s"));
        let events = webhook.events.unwrap();
        assert_eq!(events, [JobStatus::Queued, JobStatus::Failed]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        check_refused("[]", "body");
        check_refused("null", "body");
        check_refused(r#"{"jobid":"a"}"#, "jobid");
        check_refused(r#"{"job_id":5}"#, "job_id");
        check_refused(r#"{"webhook":"https://a.example/"}"#, "webhook");
        check_refused(r#"{"webhook":{}}"#, "webhook.url");
        check_refused(r#"{"webhook":{"url":null}}"#, "webhook.url");
        check_refused(r#"{"webhook":{"url":"u","secret":1}}"#, "webhook.secret");
        check_refused(r#"{"webhook":{"url":"u","sekret":"s"}}"#, "webhook.sekret");
        check_refused(
            r#"{"webhook":{"url":"u","events":"queued"}}"#,
            "webhook.events",
        );
        check_refused(
            r#"{"webhook":{"url":"u","events":["done"]}}"#,
            "webhook.events",
        );
        check_refused(r#"{"job_id":"a","job_id":"b"}"#, "job_id");
        check_refused(r#"{"webhook":{"url":"u","u\u0072l":"v"}}"#, "webhook.url");
        assert_eq!(read(b"{").unwrap_err(), ApiError::Malformed);
    }

    #[test]
    fn a_long_name_is_cut() {
        check_refused(
            &format!(r#"{{"{}":1}}"#, "n".repeat(1_000)),
            &"n".repeat(64),
        );
    }
}
