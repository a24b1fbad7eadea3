//! The exporter against receivers that do as they are told.

#[cfg(test)]
mod common;
#[cfg(test)]
mod contract;
#[cfg(test)]
mod outage;
#[cfg(test)]
mod peers;
#[cfg(test)]
mod receiver;
#[cfg(test)]
mod telemetry;
#[cfg(test)]
mod voice;
