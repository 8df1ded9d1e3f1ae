//! `fastlvs._core.Edit`: a change of one service, as `fastlvs.balancer` asks for it.

use crate::scheduler::Schedulers;
use crate::service::Spec;
use fastlvs_core::service::{self, ServerSpec};
use pyo3::prelude::*;

/// A change of one service. Servers are named by their place in a spec: that of the service as it will be, or, for
/// those that go, as it was.
#[pyclass(frozen, module = "fastlvs._core")]
pub struct Edit(Kind);

enum Kind {
    /// A scheduler of the user's may belong to it, which each engine has for itself.
    AddService(Py<Spec>),
    EditService(Py<Spec>),
    Other(service::Edit),
}

#[pymethods]
impl Edit {
    /// A new service, with its servers.
    #[staticmethod]
    fn add_service(service: Py<Spec>) -> Self {
        Self(Kind::AddService(service))
    }

    /// Other values for a service, its servers excepted.
    #[staticmethod]
    fn edit_service(service: Py<Spec>) -> Self {
        Self(Kind::EditService(service))
    }

    /// A service goes.
    #[staticmethod]
    fn remove_service(service: &Spec) -> Self {
        Self(Kind::Other(service::Edit::RemoveService(service.key())))
    }

    /// A new server at the head of its service's list.
    #[staticmethod]
    fn add_server(service: &Spec, place: usize) -> PyResult<Self> {
        let server = service.server(place)?;
        Ok(Self(Kind::Other(service::Edit::AddServer(service.key(), server))))
    }

    /// Other values for a server.
    #[staticmethod]
    fn edit_server(service: &Spec, place: usize) -> PyResult<Self> {
        let server = service.server(place)?;
        Ok(Self(Kind::Other(service::Edit::EditServer(service.key(), server))))
    }

    /// Another weight for a server.
    #[staticmethod]
    fn set_weight(service: &Spec, place: usize) -> PyResult<Self> {
        let ServerSpec { endpoint, weight, .. } = service.server(place)?;
        Ok(Self(Kind::Other(service::Edit::SetWeight(service.key(), endpoint, weight))))
    }

    /// A server goes.
    #[staticmethod]
    fn remove_server(service: &Spec, place: usize) -> PyResult<Self> {
        let server = service.server(place)?;
        Ok(Self(Kind::Other(service::Edit::RemoveServer(service.key(), server.endpoint))))
    }
}

impl Edit {
    /// The same in the core's words. What becomes of the users' schedulers is written into `schedulers`.
    pub fn edit(&self, py: Python<'_>, schedulers: &mut Schedulers) -> PyResult<service::Edit> {
        let mut spec = |service: &Py<Spec>| {
            let service = service.get();
            let known = schedulers.remove(&service.key()).map(|scheduler| (service.key(), scheduler));
            service.spec(py, &known.into_iter().collect(), schedulers)
        };
        match &self.0 {
            Kind::AddService(service) => spec(service).map(service::Edit::AddService),
            Kind::EditService(service) => spec(service).map(service::Edit::EditService),
            Kind::Other(edit) => {
                if let service::Edit::RemoveService(key) = edit {
                    schedulers.remove(key);
                }
                Ok(edit.clone())
            }
        }
    }
}
