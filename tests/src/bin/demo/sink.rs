//! Where the agent ships to: a receiver within this process, or a collector.

use anyhow::Result;
use inferscope_tests::collector::{Collector, Place};
use inferscope_tests::received::Received;
use inferscope_tests::receiver::Receiver;

pub(crate) enum Sink {
    Own(Receiver),
    Collector(Collector, Place),
}

impl Sink {
    pub(crate) fn start(collector: bool) -> Result<Self> {
        if !collector {
            return Ok(Self::Own(Receiver::start()?));
        }
        let place = Place::new()?;
        Ok(Self::Collector(place.start()?, place))
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Own(_) => "this demo",
            Self::Collector(..) => "an OpenTelemetry Collector",
        }
    }

    pub(crate) fn endpoint(&self) -> String {
        match self {
            Self::Own(receiver) => receiver.endpoint(),
            Self::Collector(_, place) => place.grpc(),
        }
    }

    /// What has arrived so far.
    pub(crate) fn received(&self) -> Result<Received> {
        match self {
            Self::Own(receiver) => Ok(receiver.received()),
            Self::Collector(_, place) => place.received(),
        }
    }

    /// Ends it; everything that arrived.
    pub(crate) fn finish(self) -> Result<Received> {
        match self {
            Self::Own(receiver) => Ok(receiver.received()),
            Self::Collector(collector, place) => {
                collector.stop()?;
                place.received()
            }
        }
    }
}
