//! What a receiver says of a request that it took.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;

use crate::export::answer::Answer;

/// Reads the response to a request with `items` items. The responses of all signals have the same fields by number, so
/// one type reads them all. A response that cannot be read says nothing, and the request was taken all the same.
pub(super) fn read(bytes: &Bytes, items: u64) -> Answer {
    let response = ExportTraceServiceResponse::decode(bytes.clone()).unwrap_or_default();
    let (rejected, warned) = match response.partial_success {
        Some(partial) => (partial.rejected_spans, !partial.error_message.is_empty()),
        None => (0, false),
    };
    Answer::Accepted { rejected: u64::try_from(rejected).unwrap_or(0).min(items), warned }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceResponse};
    use opentelemetry_proto::tonic::collector::metrics::v1::{
        ExportMetricsPartialSuccess, ExportMetricsServiceResponse,
    };

    #[test]
    fn one_type_reads_the_responses_of_every_signal() {
        let error_message = "too old".to_owned();
        let metrics = ExportMetricsServiceResponse {
            partial_success: Some(ExportMetricsPartialSuccess {
                rejected_data_points: 3,
                error_message: error_message.clone(),
            }),
        };
        let logs = ExportLogsServiceResponse {
            partial_success: Some(ExportLogsPartialSuccess { rejected_log_records: 3, error_message }),
        };
        for bytes in [metrics.encode_to_vec(), logs.encode_to_vec()] {
            assert_eq!(read(&bytes.into(), 10), Answer::Accepted { rejected: 3, warned: true });
        }
    }

    #[test]
    fn nonsense_rejects_nothing_and_no_more_than_there_was() {
        let says = |rejected_data_points| {
            let partial_success = Some(ExportMetricsPartialSuccess { rejected_data_points, ..Default::default() });
            read(&ExportMetricsServiceResponse { partial_success }.encode_to_vec().into(), 10)
        };
        assert_eq!(says(-1), Answer::Accepted { rejected: 0, warned: false });
        assert_eq!(says(i64::MAX), Answer::Accepted { rejected: 10, warned: false });
        assert_eq!(read(&Bytes::from_static(b"\xff\xff\xff"), 10), Answer::Accepted { rejected: 0, warned: false });
        assert_eq!(read(&Bytes::new(), 10), Answer::Accepted { rejected: 0, warned: false });
    }
}
