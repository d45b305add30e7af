//! Membership from a real Kubernetes control plane: what routers make of Deployments that grow, shrink,
//! roll and lose Pods, and of an API server that is gone.
//!
//! The manifests are those that ship (`deploy/k8s/base`), Role and all.
//!
//! # Invariants
//! - Each test is a cluster of its own, in a network of its own.

mod cluster;
mod manifests;
mod membership;
