//! A Kubernetes cluster without containers: a real control plane, and a kubelet whose containers are
//! processes.
//!
//! Everything runs in one network of the test's own ([`crate::network`]): the ports are Kubernetes' usual
//! ones, and pods have addresses that EndpointSlices take (they refuse loopback's).
//!
//! # Invariants
//! - Nothing about Deployments, Services and EndpointSlices is made up: the real controllers make them.
//! - What the kubelet does not understand in a Pod fails the Pod, with words; it is never passed over.

pub mod kubelet;
pub mod plane;
mod pod;
mod status;
mod volumes;

pub use kubelet::Kubelet;
pub use plane::Plane;
