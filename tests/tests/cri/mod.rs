//! What a kubelet asks of its runtime, over the runtime's socket: a client of `runtime.v1`.

pub mod containerd;
mod image;
mod messages;

use std::path::PathBuf;
use std::time::Duration;

use prost::Message;
use serde_json::Value;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Endpoint;
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

use messages::{
    Condition, ImageSpec, ImageStatusRequest, ImageStatusResponse, Linux, Listed, Metadata, Nothing,
    PortMapping, READY, RunRequest, SandboxConfig, SandboxId, SandboxStatusRequest, SandboxStatusResponse,
    StatusResponse, UDP, Version,
};

/// A runtime that is busy answers late; one that does not answer at all is to fail the test.
const PATIENCE: Duration = Duration::from_mins(1);

/// The runtime at a socket. Each call has a connection of its own, so that it outlives the runtime.
#[derive(Clone)]
pub struct Cri {
    socket: PathBuf,
}

/// A pod as a manifest asks for it.
#[derive(Clone)]
pub struct Wanted(SandboxConfig);

impl Wanted {
    pub fn new(name: &str, cgroup: &str) -> Self {
        let metadata =
            Metadata { name: name.to_owned(), uid: format!("{name}-uid"), namespace: "default".to_owned() };
        Self(SandboxConfig {
            metadata: Some(metadata),
            hostname: name.to_owned(),
            linux: Some(Linux { cgroup_parent: format!("/{cgroup}") }),
            ..SandboxConfig::default()
        })
    }

    /// The same with `hostPort` and `containerPort` for TCP and for UDP.
    pub fn published(mut self, host: u16, container: u16) -> Self {
        let tcp = PortMapping { protocol: 0, container_port: container.into(), host_port: host.into() };
        self.0.port_mappings.extend([tcp.clone(), PortMapping { protocol: UDP, ..tcp }]);
        self
    }

    /// The same with the annotations that ask for limits.
    pub fn limited(mut self, ingress: &str, egress: &str) -> Self {
        for (way, rate) in [("ingress", ingress), ("egress", egress)] {
            self.0.annotations.insert(format!("kubernetes.io/{way}-bandwidth"), rate.to_owned());
        }
        self
    }
}

/// What the runtime says of a sandbox.
pub struct Told {
    pub is_ready: bool,
    pub addresses: Vec<String>,
    /// In the runtime's own mount namespace; empty once the sandbox is stopped.
    pub netns: String,
    /// In the runtime's own process namespace.
    pub process: u64,
}

impl Cri {
    pub fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    pub fn run(&self, wanted: Wanted) -> Result<String, Status> {
        let answer: SandboxId = self.runtime("RunPodSandbox", RunRequest { config: Some(wanted.0) })?;
        Ok(answer.id)
    }

    pub fn stop(&self, id: &str) -> Result<(), Status> {
        self.runtime("StopPodSandbox", SandboxId { id: id.to_owned() }).map(|Nothing {}| ())
    }

    pub fn remove(&self, id: &str) -> Result<(), Status> {
        self.runtime("RemovePodSandbox", SandboxId { id: id.to_owned() }).map(|Nothing {}| ())
    }

    pub fn sandboxes(&self) -> Result<Vec<String>, Status> {
        let listed: Listed = self.runtime("ListPodSandbox", Nothing {})?;
        Ok(listed.items.into_iter().map(|item| item.id).collect())
    }

    pub fn sandbox(&self, id: &str) -> Result<Told, Status> {
        let request = SandboxStatusRequest { id: id.to_owned(), verbose: true };
        let answer: SandboxStatusResponse = self.runtime("PodSandboxStatus", request)?;
        let info: Value = serde_json::from_str(&answer.info["info"]).expect("the verbose part is JSON");
        let spaces = info.pointer("/runtimeSpec/linux/namespaces").and_then(Value::as_array);
        let network = spaces.into_iter().flatten().find(|space| space["type"] == "network");
        let netns = network.and_then(|space| space["path"].as_str()).unwrap_or_default();
        let status = answer.status.expect("a sandbox has a status");
        let network = status.network.unwrap_or_default();
        let more = network.additional_ips.into_iter().map(|entry| entry.ip);
        Ok(Told {
            is_ready: status.state == READY,
            addresses: std::iter::once(network.ip).chain(more).collect(),
            netns: netns.to_owned(),
            process: info["pid"].as_u64().unwrap_or_default(),
        })
    }

    /// One condition of the runtime, `RuntimeReady` or `NetworkReady`: whether it holds, and the reason.
    pub fn condition(&self, name: &str) -> Result<(bool, String), Status> {
        let answer: StatusResponse = self.runtime("Status", Nothing {})?;
        let conditions = answer.status.unwrap_or_default().conditions;
        let found: Option<Condition> = conditions.into_iter().find(|condition| condition.name == name);
        let found = found.ok_or_else(|| Status::not_found(format!("no condition {name}")))?;
        Ok((found.status, found.reason))
    }

    /// The version of the runtime, such as `1.6.20`.
    pub fn version(&self) -> Result<String, Status> {
        let answer: Version = self.runtime("Version", Nothing {})?;
        Ok(answer.runtime.trim_start_matches('v').to_owned())
    }

    pub fn has_image(&self, name: &str) -> Result<bool, Status> {
        let request = ImageStatusRequest { image: Some(ImageSpec { image: name.to_owned() }) };
        let answer: ImageStatusResponse = self.call("/runtime.v1.ImageService/ImageStatus", request)?;
        Ok(answer.image.is_some())
    }

    fn runtime<A: Message + Default + 'static>(
        &self,
        verb: &str,
        request: impl Message + 'static,
    ) -> Result<A, Status> {
        self.call(&format!("/runtime.v1.RuntimeService/{verb}"), request)
    }

    fn call<Q: Message + 'static, A: Message + Default + 'static>(
        &self,
        path: &str,
        request: Q,
    ) -> Result<A, Status> {
        let path = PathAndQuery::try_from(path).expect("a method's path");
        let address = format!("unix://{}", self.socket.display());
        let calling = async {
            let endpoint = Endpoint::from_shared(address).map_err(|error| unavailable(&error))?;
            let channel = endpoint.connect().await.map_err(|error| unavailable(&error))?;
            let mut client = Grpc::new(channel);
            client.ready().await.map_err(|error| unavailable(&error))?;
            client.unary(Request::new(request), path, ProstCodec::<Q, A>::default()).await
        };
        let patient = async {
            let late = |_| Status::deadline_exceeded("the runtime does not answer");
            tokio::time::timeout(PATIENCE, calling).await.map_err(late)?
        };
        let thread = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Ok(thread.expect("a runtime of this thread").block_on(patient)?.into_inner())
    }
}

fn unavailable(error: &tonic::transport::Error) -> Status {
    Status::unavailable(format!("{error:?}"))
}
