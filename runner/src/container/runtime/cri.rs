//! The Container Runtime Interface, v1 or v1alpha2: CRI-O, containerd's plugin, cri-dockerd, and whoever else serves a
//! kubelet.
//!
//! Source: `runtime/v1/api.proto` of Kubernetes' cri-api. A runtime that has no events for its containers is asked for
//! the list every second.

mod proto;

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::docker::without_digest;
use super::grpc::{Channel, NO_HEADER, Replies, UNIMPLEMENTED};
use super::http::Failure;
use super::kubernetes::Pod;
use super::podman::with_algorithm;
use super::{Answer, Change, Changes, Details, Runtime, Start};
use proto::*;

/// How often a runtime without events is asked for its list.
const LOOK: Duration = Duration::from_secs(1);
/// How often one with events is: for what started while the request for events was on its way.
const LOOK_WITH_EVENTS: Duration = Duration::from_secs(30);

/// An endpoint.
pub(super) struct Cri {
    socket: PathBuf,
    /// The name under which its containers are shown.
    runtime: &'static str,
}

impl Cri {
    pub(super) fn new(socket: PathBuf, runtime: &'static str) -> Self {
        Self { socket, runtime }
    }

    /// Connects, and finds out which version is spoken.
    async fn connect(&self) -> Result<Service, Failure> {
        let channel = Channel::connect(&self.socket).await?;
        for package in ["runtime.v1", "runtime.v1alpha2"] {
            let service = Service { channel: channel.clone(), package, runtime: self.runtime };
            match service.call::<VersionResponse>("Version", &VersionRequest {}).await {
                Ok(version) => {
                    tracing::trace!("{} speaks {package}", version.runtime_name);
                    return Ok(service);
                }
                Err(Failure::Grpc { code: UNIMPLEMENTED, .. }) => {}
                Err(failure) => return Err(failure),
            }
        }
        Err(Failure::Grpc {
            code: UNIMPLEMENTED,
            message: "it serves no Container Runtime Interface".to_owned(),
        })
    }
}

impl Runtime for Cri {
    fn list(&self) -> Answer<'_, Vec<Details>> {
        Box::pin(async {
            let running =
                ContainerFilter { id: String::new(), state: Some(ContainerState { state: RUNNING }) };
            self.connect().await?.list(running).await
        })
    }

    fn starting<'a>(&'a self, start: &'a Start) -> Answer<'a, Option<Details>> {
        Box::pin(async {
            let filter = ContainerFilter { id: start.id.clone(), state: None };
            let found = self.connect().await?.list(filter).await?;
            Ok(found.into_iter().find(|details| details.id == start.id))
        })
    }

    fn details<'a>(&'a self, id: &'a str) -> Answer<'a, Option<Details>> {
        Box::pin(async move {
            let service = self.connect().await?;
            let found = service.list(ContainerFilter { id: id.to_owned(), state: None }).await?;
            let Some(details) = found.into_iter().find(|details| details.id == id) else { return Ok(None) };
            Ok(Some(Details { pid: service.pid(id).await?, ..details }))
        })
    }

    fn changes(&self) -> Answer<'_, Box<dyn Changes>> {
        Box::pin(async {
            let service = self.connect().await?;
            // The reply begins with the first event, so it is not waited for.
            let asked = tokio::spawn(async move {
                let method = format!("{}.RuntimeService/GetContainerEvents", service.package);
                service.channel.stream(&method, NO_HEADER, &GetEventsRequest {}).await
            });
            let events = Events { stream: Stream::Asked(asked), next_look: Instant::now() + LOOK };
            Ok(Box::new(events) as Box<dyn Changes>)
        })
    }
}

struct Service {
    channel: Channel,
    package: &'static str,
    runtime: &'static str,
}

impl Service {
    async fn call<T: prost::Message + Default>(
        &self,
        method: &str,
        request: &impl prost::Message,
    ) -> Result<T, Failure> {
        self.channel.unary(&format!("{}.RuntimeService/{method}", self.package), NO_HEADER, request).await
    }

    async fn list(&self, filter: ContainerFilter) -> Result<Vec<Details>, Failure> {
        let request = ListContainersRequest { filter: Some(filter) };
        let found: ListContainersResponse = self.call("ListContainers", &request).await?;
        let mut sandboxes = HashMap::new();
        let mut all = Vec::new();
        for container in found.containers {
            let id = container.pod_sandbox_id.clone();
            if !sandboxes.contains_key(&id) {
                sandboxes.insert(id.clone(), self.sandbox(&id).await?);
            }
            all.push(details(container, sandboxes.get(&id).and_then(Option::as_ref), self.runtime));
        }
        Ok(all)
    }

    async fn sandbox(&self, id: &str) -> Result<Option<PodSandboxStatus>, Failure> {
        if id.is_empty() {
            return Ok(None);
        }
        let request = PodSandboxStatusRequest { pod_sandbox_id: id.to_owned() };
        match self.call::<PodSandboxStatusResponse>("PodSandboxStatus", &request).await {
            Ok(found) => Ok(found.status),
            // It went in the meantime; the container's own labels say the most of it.
            Err(Failure::Grpc { .. }) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// The first process, which only the verbose status knows: JSON that is each runtime's own but for this.
    async fn pid(&self, id: &str) -> Result<Option<u32>, Failure> {
        #[derive(Deserialize)]
        struct Info {
            pid: u32,
        }
        let request = ContainerStatusRequest { container_id: id.to_owned(), verbose: true };
        let status: ContainerStatusResponse = self.call("ContainerStatus", &request).await?;
        let info = status.info.get("info").and_then(|text| serde_json::from_str::<Info>(text).ok());
        Ok(info.map(|info| info.pid).filter(|pid| *pid != 0))
    }
}

fn details(container: Container, sandbox: Option<&PodSandboxStatus>, runtime: &'static str) -> Details {
    let mut pod = Pod::of_labels(&container.labels);
    if pod.container_name.is_empty() {
        pod.container_name = container.metadata.map(|metadata| metadata.name).unwrap_or_default();
    }
    if let Some(status) = sandbox {
        if let Some(metadata) = &status.metadata {
            pod.name.clone_from(&metadata.name);
            pod.uid.clone_from(&metadata.uid);
            pod.namespace.clone_from(&metadata.namespace);
        }
        pod.add_pod_labels(status.labels.clone());
    }
    pod.sandbox_id = container.pod_sandbox_id;
    let image = container.image.unwrap_or_default();
    let name = if image.user_specified_image.is_empty() { image.image } else { image.user_specified_image };
    // The reference is a name with a digest, or the image's id.
    let (image_digest, id) = match container.image_ref.split_once('@') {
        Some((_, digest)) => (digest.to_owned(), container.image_id),
        None if container.image_id.is_empty() => (String::new(), container.image_ref),
        None => (String::new(), container.image_id),
    };
    Details {
        id: container.id,
        name: pod.container_name.clone(),
        runtime,
        image_name: without_digest(name),
        image_id: with_algorithm(id),
        image_digest,
        labels: container.labels,
        pod,
        ..Details::default()
    }
}

struct Events {
    stream: Stream,
    next_look: Instant,
}

enum Stream {
    Asked(JoinHandle<Result<Replies<ContainerEvent>, Failure>>),
    Told(Replies<ContainerEvent>),
    /// The runtime has no events.
    None,
}

impl Events {
    async fn event(&mut self) -> Result<Option<Change>, Failure> {
        loop {
            let replies = match &mut self.stream {
                Stream::None => std::future::pending().await,
                Stream::Told(replies) => replies,
                Stream::Asked(asked) => {
                    self.stream = match asked.await.map_err(|_| Failure::Cut)? {
                        Ok(replies) => Stream::Told(replies),
                        // CRI-O calls it so unless events are switched on.
                        Err(Failure::Grpc { .. }) => Stream::None,
                        Err(failure) => return Err(failure),
                    };
                    continue;
                }
            };
            match replies.next().await {
                Ok(Some(event)) if event.kind == STARTED => return Ok(Some(Change::One(event.container_id))),
                Ok(Some(_)) => {}
                Ok(None) => return Ok(None),
                Err(Failure::Grpc { .. }) => self.stream = Stream::None,
                Err(failure) => return Err(failure),
            }
        }
    }
}

impl Changes for Events {
    fn next(&mut self) -> Answer<'_, Option<Change>> {
        Box::pin(async {
            let next_look = self.next_look;
            tokio::select! {
                event = self.event() => event,
                () = sleep_until(next_look) => {
                    let told = matches!(self.stream, Stream::Told(_));
                    self.next_look = Instant::now() + if told { LOOK_WITH_EVENTS } else { LOOK };
                    Ok(Some(Change::All))
                }
            }
        })
    }
}

#[cfg(test)]
mod real;
#[cfg(test)]
mod tests;
