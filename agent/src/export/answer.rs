//! What the receiver's answers mean: OTLP's contract.

use std::fmt;
use std::time::{Duration, SystemTime};

use http::StatusCode;
use tonic::Code;

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Taken.
    Accepted {
        /// Of it the receiver dropped so many items.
        rejected: u64,
        /// The receiver had something to say.
        warned: bool,
    },
    /// Not taken this time.
    Retry {
        /// The shortest wait, where the receiver asks for one.
        after: Option<Duration>,
        /// Why not.
        why: Why,
    },
    /// Never to be sent again.
    Refused(Why),
    /// The answer was larger than is read; that, too, forbids another try.
    TooLarge,
}

/// Why a request was not taken. Holds no text of the receiver's: that may repeat what it was sent, credentials included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// A gRPC status.
    Grpc(Code),
    /// An HTTP status.
    Http(StatusCode),
    /// Nothing came in time.
    Timeout(Duration),
    /// No trust came about.
    Tls(String),
    /// No connection came about.
    Connect(String),
    /// The connection ended before the answer did.
    Disconnect(String),
}

impl Answer {
    /// What a gRPC status asks for. `retry_info`: the delay in the status's `RetryInfo`, where it has one.
    pub(super) fn of_grpc(code: Code, retry_info: Option<Option<Duration>>) -> Self {
        let why = Why::Grpc(code);
        let retryable = match code {
            Code::Ok => return Self::Accepted { rejected: 0, warned: false },
            Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unavailable
            | Code::DataLoss => true,
            Code::ResourceExhausted => retry_info.is_some(),
            Code::Unknown
            | Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::FailedPrecondition
            | Code::Unimplemented
            | Code::Internal
            | Code::Unauthenticated => false,
        };
        if retryable { Self::Retry { after: retry_info.flatten(), why } } else { Self::Refused(why) }
    }

    /// What an HTTP status asks for. `retry_after`: the header of that name.
    pub(super) fn of_http(status: StatusCode, retry_after: Option<&str>, now: SystemTime) -> Self {
        let why = Why::Http(status);
        match status.as_u16() {
            200..=299 => Self::Accepted { rejected: 0, warned: false },
            429 | 502 | 503 | 504 => Self::Retry { after: retry_after.and_then(|text| delay(text, now)), why },
            _ => Self::Refused(why),
        }
    }
}

/// `Retry-After`: seconds, or a date.
fn delay(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    // A date that has passed asks for no wait.
    httpdate::parse_http_date(text).ok().map(|date| date.duration_since(now).unwrap_or_default())
}

/// The gRPC status that an HTTP status stands for where a proxy answered in the receiver's place.
pub(super) fn code_of_http(status: StatusCode) -> Code {
    match status.as_u16() {
        400 => Code::Internal,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::Unimplemented,
        429 | 502 | 503 | 504 => Code::Unavailable,
        _ => Code::Unknown,
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Grpc(code) => write!(f, "gRPC status {code:?}"),
            Self::Http(status) => write!(f, "HTTP status {status}"),
            Self::Timeout(limit) => write!(f, "no answer within {limit:?}"),
            Self::Tls(cause) => write!(f, "TLS failed: {cause}"),
            Self::Connect(cause) => write!(f, "no connection: {cause}"),
            Self::Disconnect(cause) => write!(f, "the connection broke: {cause}"),
        }
    }
}

impl Why {
    /// What may mend it.
    pub(super) fn mend(&self) -> &'static str {
        const CREDENTIALS: &str = "check the credentials in the headers of the OTLP endpoint";
        const PLACE: &str =
            "check the endpoint's path, and that its protocol (grpc or http/protobuf) is the receiver's";
        const LOAD: &str = "the receiver is overloaded or starting; nothing to do unless it lasts";
        const SIZE: &str = "lower the size of a request below what the receiver accepts";
        const CONTENT: &str = "look into the receiver's log for what it does not like";
        const WAY: &str = "check that the receiver runs, that the endpoint and its protocol are the receiver's, and that no firewall stands between";
        const TRUST: &str =
            "check the CA file and the client certificate of the OTLP endpoint, and the name in its URL";
        match self {
            Self::Tls(_) => TRUST,
            Self::Grpc(Code::Unauthenticated | Code::PermissionDenied) => CREDENTIALS,
            Self::Grpc(Code::Unimplemented | Code::NotFound) => PLACE,
            Self::Grpc(Code::ResourceExhausted) => SIZE,
            Self::Grpc(
                Code::InvalidArgument
                | Code::AlreadyExists
                | Code::FailedPrecondition
                | Code::Unknown
                | Code::Internal
                | Code::OutOfRange,
            ) => CONTENT,
            Self::Grpc(_) => LOAD,
            Self::Http(status) => match status.as_u16() {
                401 | 403 | 407 => CREDENTIALS,
                413 => SIZE,
                404 | 405 | 415 | 300..=399 => PLACE,
                429 | 502..=504 => LOAD,
                _ => CONTENT,
            },
            Self::Timeout(_) | Self::Connect(_) | Self::Disconnect(_) => WAY,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Option<Option<Duration>> = Some(Some(Duration::from_secs(7)));

    /// Number, name and whether to retry without and with `RetryInfo`, as the specification lists them.
    const CODES: [(i32, bool, bool); 17] = [
        (0, false, false),
        (1, true, true),
        (2, false, false),
        (3, false, false),
        (4, true, true),
        (5, false, false),
        (6, false, false),
        (7, false, false),
        (8, false, true),
        (9, false, false),
        (10, true, true),
        (11, true, true),
        (12, false, false),
        (13, false, false),
        (14, true, true),
        (15, true, true),
        (16, false, false),
    ];

    #[test]
    fn grpc_codes_are_judged_by_the_specification() {
        for (number, without, with) in CODES {
            let code = Code::from_i32(number);
            let retries = |answer: &Answer| matches!(answer, Answer::Retry { .. });
            let (plain, informed) = (Answer::of_grpc(code, None), Answer::of_grpc(code, SOON));
            assert_eq!((retries(&plain), retries(&informed)), (without, with), "{code:?}");
            if with {
                let after = Some(Duration::from_secs(7));
                assert_eq!(informed, Answer::Retry { after, why: Why::Grpc(code) });
            }
            if number == 0 {
                assert_eq!(plain, Answer::Accepted { rejected: 0, warned: false });
            } else if !without {
                assert_eq!(plain, Answer::Refused(Why::Grpc(code)));
            }
        }
    }

    #[test]
    fn retry_info_without_a_delay_allows_another_try() {
        let answer = Answer::of_grpc(Code::ResourceExhausted, Some(None));
        assert_eq!(answer, Answer::Retry { after: None, why: Why::Grpc(Code::ResourceExhausted) });
    }

    #[test]
    fn http_statuses_are_judged_by_the_specification() {
        for number in 200..600 {
            let status = StatusCode::from_u16(number).unwrap();
            let answer = Answer::of_http(status, None, SystemTime::now());
            match number {
                200..300 => assert_eq!(answer, Answer::Accepted { rejected: 0, warned: false }),
                429 | 502 | 503 | 504 => assert_eq!(answer, Answer::Retry { after: None, why: Why::Http(status) }),
                _ => assert_eq!(answer, Answer::Refused(Why::Http(status)), "{number}"),
            }
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let after = |text| match Answer::of_http(StatusCode::SERVICE_UNAVAILABLE, Some(text), now) {
            Answer::Retry { after, .. } => after.map(|after| after.as_secs()),
            other => panic!("{other:?}"),
        };
        assert_eq!(after("120"), Some(120));
        assert_eq!(after(" 0 "), Some(0));
        assert_eq!(after("Sun, 06 Nov 1994 08:49:37 GMT"), Some(0), "now");
        assert_eq!(after("Sun, 06 Nov 1994 08:50:07 GMT"), Some(30));
        assert_eq!(after("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0), "past");
        assert_eq!(after("Sunday, 06-Nov-94 08:50:07 GMT"), Some(30), "the old form");
        assert_eq!(after("soon"), None);
        assert_eq!(after("-5"), None);
        assert_eq!(after("1e3"), None);
        assert_eq!(after("99999999999999999999999"), None);
    }

    #[test]
    fn a_proxys_status_stands_for_a_code() {
        for (status, code) in [(401, Code::Unauthenticated), (404, Code::Unimplemented), (503, Code::Unavailable)] {
            assert_eq!(code_of_http(StatusCode::from_u16(status).unwrap()), code);
        }
    }
}
