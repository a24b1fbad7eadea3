//! Packs encoded items into export requests of a limited size.
//!
//! Metrics, spans and logs are wrapped alike, field numbers included: a request holds groups (field 1), a group its
//! resource (1) and its scope's items (2), and those the scope (1) and the items (2).

use crate::export::encode::wire::{self, field_len, key};

const GROUP: u8 = key(1);
const RESOURCE: u8 = key(1);
const SCOPE_ITEMS: u8 = key(2);
const SCOPE: u8 = key(1);
const ITEM: u8 = key(2);

/// An export request, encoded and not yet compressed.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Message {
    /// Protobuf.
    pub bytes: Vec<u8>,
    /// Points, spans or log records in it.
    pub items: u64,
}

/// Packs items, group by group, and hands on each request as it is complete: there is never more than one in memory.
#[derive(Debug)]
pub(in crate::export) struct Packer<F> {
    limit: usize,
    emit: F,
    /// Of the open group, encoded.
    resource: Vec<u8>,
    scope: Vec<u8>,
    /// Items of the open group, each a field.
    group: Message,
    /// Closed groups of the open request.
    request: Message,
    oversize: u64,
}

impl<F: FnMut(&Message)> Packer<F> {
    /// Packs into requests of at most `limit` bytes.
    pub(in crate::export) fn new(limit: usize, emit: F) -> Self {
        let (group, request) = (Message::default(), Message::default());
        Self { limit, emit, resource: Vec::new(), scope: Vec::new(), group, request, oversize: 0 }
    }

    /// Begins a group: the items to come are of this resource and scope, both encoded.
    pub(in crate::export) fn group(&mut self, resource: &[u8], scope: &[u8]) {
        self.close_group();
        self.resource.clear();
        self.resource.extend_from_slice(resource);
        self.scope.clear();
        self.scope.extend_from_slice(scope);
    }

    /// Whether an item of `len` bytes can be sent at all.
    pub(in crate::export) fn fits(&self, len: usize) -> bool {
        self.group_len(field_len(len)) <= self.limit
    }

    /// Takes an item that stands for `count` points, spans or records.
    pub(in crate::export) fn item(&mut self, item: &[u8], count: u64) {
        let len = field_len(item.len());
        if !self.fits(item.len()) {
            self.oversize += count;
            return;
        }
        if self.request.bytes.len() + self.group_len(self.group.bytes.len() + len) > self.limit {
            self.close_request();
        }
        wire::bytes(&mut self.group.bytes, ITEM, item);
        self.group.items += count;
    }

    /// Hands on what is left. Returns how many points, spans or records exceeded the limit on their own, and are in no
    /// request.
    pub(in crate::export) fn finish(mut self) -> u64 {
        self.close_request();
        self.oversize
    }

    /// Bytes of a group with `items` bytes of items.
    fn group_len(&self, items: usize) -> usize {
        field_len(self.content_len(items))
    }

    fn content_len(&self, items: usize) -> usize {
        field_len(self.resource.len()) + field_len(self.scoped_len(items))
    }

    fn scoped_len(&self, items: usize) -> usize {
        field_len(self.scope.len()) + items
    }

    fn close_group(&mut self) {
        let items = self.group.bytes.len();
        if items == 0 {
            return;
        }
        let (content, scoped) = (self.content_len(items), self.scoped_len(items));
        let out = &mut self.request.bytes;
        out.reserve(field_len(content));
        wire::open(out, GROUP, content);
        wire::bytes(out, RESOURCE, &self.resource);
        wire::open(out, SCOPE_ITEMS, scoped);
        wire::bytes(out, SCOPE, &self.scope);
        out.append(&mut self.group.bytes);
        self.request.items += std::mem::take(&mut self.group.items);
    }

    fn close_request(&mut self) {
        self.close_group();
        if !self.request.bytes.is_empty() {
            (self.emit)(&self.request);
            self.request.bytes.clear();
            self.request.items = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
    use proptest::collection::vec;
    use proptest::prelude::*;
    use prost::Message as Protobuf;

    fn span(name: &str) -> Span {
        Span { name: name.to_owned(), ..Span::default() }
    }

    fn group(resource: u32, spans: Vec<Span>) -> ResourceSpans {
        ResourceSpans {
            resource: Some(Resource { dropped_attributes_count: resource, ..Resource::default() }),
            scope_spans: vec![ScopeSpans {
                scope: Some(InstrumentationScope { name: format!("scope {resource}"), ..Default::default() }),
                spans,
                schema_url: String::new(),
            }],
            schema_url: String::new(),
        }
    }

    /// The requests, and how many spans fit none.
    fn pack(limit: usize, groups: &[ResourceSpans]) -> (Vec<Message>, u64) {
        let mut messages = Vec::new();
        let mut packer = Packer::new(limit, |message: &Message| messages.push(message.clone()));
        for group in groups {
            let scoped = &group.scope_spans[0];
            packer.group(&group.resource.encode_to_vec_or_empty(), &scoped.scope.encode_to_vec_or_empty());
            scoped.spans.iter().for_each(|span| packer.item(&span.encode_to_vec(), 1));
        }
        let oversize = packer.finish();
        (messages, oversize)
    }

    trait EncodeOption {
        fn encode_to_vec_or_empty(&self) -> Vec<u8>;
    }

    impl<T: Protobuf> EncodeOption for Option<T> {
        fn encode_to_vec_or_empty(&self) -> Vec<u8> {
            self.as_ref().map(Protobuf::encode_to_vec).unwrap_or_default()
        }
    }

    #[test]
    fn one_request_is_what_prost_makes_of_it() {
        let groups =
            vec![group(1, vec![span("a"), span("b")]), group(2, vec![]), group(300, vec![span(&"c".repeat(300))])];
        let packed = pack(1 << 20, &groups);
        let filled = groups.into_iter().filter(|group| !group.scope_spans[0].spans.is_empty()).collect();
        let whole = ExportTraceServiceRequest { resource_spans: filled }.encode_to_vec();
        assert_eq!(packed, (vec![Message { bytes: whole, items: 3 }], 0));
    }

    #[test]
    fn nothing_makes_no_request() {
        assert_eq!(pack(1 << 20, &[group(1, vec![])]), (vec![], 0));
    }

    #[test]
    fn what_fits_no_request_is_counted_and_keeps_nothing_else_back() {
        let (messages, oversize) = pack(100, &[group(1, vec![span("a"), span(&"b".repeat(90)), span("c")])]);
        assert_eq!((oversize, messages.len(), messages[0].items), (1, 1, 2));
    }

    proptest! {
        #[test]
        fn splitting_loses_and_repeats_nothing(
            limit in 40usize..600,
            lens in vec(vec(0usize..300, 0..12), 0..6),
        ) {
            let mut number = 0;
            let mut name = |len: usize| {
                number += 1;
                span(&format!("{number} {}", "x".repeat(len)))
            };
            let groups: Vec<_> = (0u32..)
                .zip(&lens)
                .map(|(place, lens)| group(1 + place, lens.iter().map(|&len| name(len)).collect()))
                .collect();
            let (messages, lost) = pack(limit, &groups);
            let mut got = Vec::new();
            for message in &messages {
                prop_assert!(message.bytes.len() <= limit);
                let request = ExportTraceServiceRequest::decode(&message.bytes[..]).unwrap();
                prop_assert_eq!(&request.encode_to_vec(), &message.bytes);
                let before = got.len();
                for of_resource in request.resource_spans {
                    for span in &of_resource.scope_spans[0].spans {
                        got.push((of_resource.resource.clone(), of_resource.scope_spans[0].scope.clone(), span.clone()));
                    }
                }
                prop_assert_eq!((got.len() - before) as u64, message.items);
            }
            let all = groups.iter().flat_map(|group| {
                let scoped = &group.scope_spans[0];
                scoped.spans.iter().map(|span| (group.resource.clone(), scoped.scope.clone(), span.clone()))
            });
            let (fitting, oversize): (Vec<_>, Vec<_>) = all.partition(|(resource, scope, span)| {
                let alone = ScopeSpans { scope: scope.clone(), spans: vec![span.clone()], ..ScopeSpans::default() };
                let group = ResourceSpans { resource: resource.clone(), scope_spans: vec![alone], ..Default::default() };
                ExportTraceServiceRequest { resource_spans: vec![group] }.encoded_len() <= limit
            });
            prop_assert_eq!(got, fitting);
            prop_assert_eq!(lost, oversize.len() as u64);
        }
    }
}
