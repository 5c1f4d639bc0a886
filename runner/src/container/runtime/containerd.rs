//! containerd: its own gRPC API, in all of its namespaces or in one.
//!
//! Source: containerd's `api/services/*/v1/*.proto` and `api/types/*.proto`, 1.3 and later. While a start is held only
//! the stores of containers and images may be asked: a question about the task waits for its shim.

mod image;
mod proto;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use serde::Deserialize;
use tokio::task::JoinHandle;
use tokio::time::{Sleep, sleep};

use super::cache::Cache;
use super::grpc::{Channel, NO_HEADER, NOT_FOUND, Replies};
use super::http::Failure;
use super::kubernetes::{self, Pod};
use super::{Answer, Change, Changes, Details, Runtime, Start};
use image::{Images, Manifest, Next};
use proto::*;

/// docker keeps its containers here, without their names. They are docker's to tell.
const DOCKER: &str = "moby";
/// More containers than this in one namespace are not looked at.
const MAX_CONTAINERS: usize = 100_000;

/// The longest manifest that is read.
const MAX_MANIFEST: usize = 4 << 20;
/// How long a request for events may take to be heard.
const SETTLED: Duration = Duration::from_secs(1);

/// A containerd daemon.
pub(super) struct Containerd {
    socket: PathBuf,
    /// Only this namespace; all where it is empty.
    namespace: String,
    /// Images' ids by their digests.
    ids: Cache,
}

impl Containerd {
    pub(super) fn new(socket: PathBuf, namespace: String) -> Self {
        Self { socket, namespace, ids: Cache::default() }
    }

    async fn connect(&self) -> Result<Channel, Failure> {
        Channel::connect(&self.socket).await
    }

    async fn namespaces(&self, channel: &Channel) -> Result<Vec<String>, Failure> {
        if !self.namespace.is_empty() {
            return Ok(vec![self.namespace.clone()]);
        }
        let method = "containerd.services.namespaces.v1.Namespaces/List";
        let found: ListNamespacesResponse =
            channel.unary(method, NO_HEADER, &ListNamespacesRequest {}).await?;
        Ok(found
            .namespaces
            .into_iter()
            .map(|namespace| namespace.name)
            .filter(|name| name != DOCKER)
            .collect())
    }

    async fn list_all(&self) -> Result<Vec<Details>, Failure> {
        let channel = self.connect().await?;
        let mut all = Vec::new();
        for namespace in self.namespaces(&channel).await? {
            all.extend(Namespace { channel: &channel, name: &namespace, ids: &self.ids }.list().await?);
        }
        Ok(all)
    }

    /// The container that starts, whether it runs or not; of any namespace where its own is not known.
    async fn find(&self, Start { id, namespace, .. }: &Start) -> Result<Option<Details>, Failure> {
        if namespace.as_deref() == Some(DOCKER) {
            return Ok(None);
        }
        let channel = self.connect().await?;
        let namespaces = match namespace {
            Some(name) => vec![name.clone()],
            None => self.namespaces(&channel).await?,
        };
        for name in namespaces {
            let namespace = Namespace { channel: &channel, name: &name, ids: &self.ids };
            if let Some(container) = namespace.container(id).await? {
                return namespace.tell(container).await.map(Some);
            }
        }
        Ok(None)
    }

    async fn one(&self, key: &str) -> Result<Option<Details>, Failure> {
        let (name, id) = key.split_once('/').ok_or(Failure::Name)?;
        let channel = self.connect().await?;
        let namespace = Namespace { channel: &channel, name, ids: &self.ids };
        let Some(container) = namespace.container(id).await? else { return Ok(None) };
        let pid = namespace.pid(id).await?;
        Ok(Some(Details { pid, ..namespace.tell(container).await? }))
    }
}

impl Runtime for Containerd {
    fn list(&self) -> Answer<'_, Vec<Details>> {
        Box::pin(self.list_all())
    }

    fn starting<'a>(&'a self, start: &'a Start) -> Answer<'a, Option<Details>> {
        Box::pin(self.find(start))
    }

    fn details<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Details>> {
        Box::pin(self.one(key))
    }

    fn changes(&self) -> Answer<'_, Box<dyn Changes>> {
        Box::pin(async {
            let filters = ["topic==\"/tasks/start\"", "topic==\"/containers/update\""];
            let request = SubscribeRequest { filters: filters.map(str::to_owned).to_vec() };
            let method = "containerd.services.events.v1.Events/Subscribe";
            let channel = self.connect().await?;
            // The reply begins with the first event: nothing says before that one has subscribed.
            let asked = tokio::spawn(async move { channel.stream(method, NO_HEADER, &request).await });
            let only = self.namespace.clone();
            let settled = Some(Box::pin(sleep(SETTLED)));
            Ok(Box::new(Events { asked: Some(asked), replies: None, settled, only }) as Box<dyn Changes>)
        })
    }
}

/// One namespace of a daemon's.
struct Namespace<'a> {
    channel: &'a Channel,
    name: &'a str,
    ids: &'a Cache,
}

impl Namespace<'_> {
    fn header(&self) -> Option<(&str, &str)> {
        Some(("containerd-namespace", self.name))
    }

    /// All that run. Pods' labels are with their sandboxes, which are among the containers.
    async fn list(&self) -> Result<Vec<Details>, Failure> {
        let method = "containerd.services.tasks.v1.Tasks/List";
        let tasks: ListTasksResponse =
            self.channel.unary(method, self.header(), &ListTasksRequest {}).await?;
        let pids: HashMap<String, u32> = tasks.tasks.into_iter().filter_map(Process::running).collect();
        if pids.is_empty() {
            return Ok(Vec::new());
        }
        let method = "containerd.services.containers.v1.Containers/ListStream";
        let mut replies: Replies<ListContainerMessage> =
            self.channel.stream(method, self.header(), &ListContainersRequest {}).await?;
        let (mut found, mut pods) = (Vec::new(), HashMap::new());
        while let Some(message) = replies.next().await? {
            let Some(container) = message.container else { continue };
            let details = details(container);
            if details.is_sandbox() {
                pods.insert(details.id, details.labels);
            } else if let Some(pid) = pids.get(&details.id) {
                found.push(Details { pid: Some(*pid), ..details });
            }
            if found.len() + pods.len() > MAX_CONTAINERS {
                return Err(Failure::Long);
            }
        }
        let method = "containerd.services.images.v1.Images/List";
        let images: ListImagesResponse =
            self.channel.unary(method, self.header(), &ListImagesRequest {}).await?;
        let images = Images::from(images.images);
        for details in &mut found {
            if let Some(labels) = pods.get(&details.pod.sandbox_id) {
                details.pod.add_pod_labels(labels.clone());
            }
            images.tell(details);
            self.tell_image_id(details).await?;
        }
        Ok(found)
    }

    async fn container(&self, id: &str) -> Result<Option<Container>, Failure> {
        let method = "containerd.services.containers.v1.Containers/Get";
        let request = GetRequest { id: id.to_owned() };
        let found = self.channel.unary::<GetContainerResponse>(method, self.header(), &request).await;
        Ok(or_none(found)?.and_then(|found| found.container))
    }

    async fn pid(&self, id: &str) -> Result<Option<u32>, Failure> {
        let method = "containerd.services.tasks.v1.Tasks/Get";
        let request = GetRequest { id: id.to_owned() };
        let found = self.channel.unary::<GetTaskResponse>(method, self.header(), &request).await;
        Ok(or_none(found)?.and_then(|found| found.process).and_then(Process::running).map(|(_, pid)| pid))
    }

    /// What the stores know of one container.
    async fn tell(&self, container: Container) -> Result<Details, Failure> {
        let image = container.image.clone();
        let mut details = details(container);
        if !details.is_sandbox() && !details.pod.sandbox_id.is_empty() {
            let sandbox = self.container(&details.pod.sandbox_id).await?;
            details.pod.add_pod_labels(sandbox.map(|sandbox| sandbox.labels).unwrap_or_default());
        }
        if !image.is_empty() {
            let method = "containerd.services.images.v1.Images/Get";
            let request = GetRequest { id: image };
            let found = self.channel.unary::<GetImageResponse>(method, self.header(), &request).await;
            Images::from(or_none(found)?.and_then(|found| found.image).into_iter().collect::<Vec<_>>())
                .tell(&mut details);
            self.tell_image_id(&mut details).await?;
        }
        Ok(details)
    }

    /// Adds the image's id, if only its digest is known: the digest of its configuration, which its manifest names.
    async fn tell_image_id(&self, details: &mut Details) -> Result<(), Failure> {
        if !details.image_id.is_empty() || details.image_digest.is_empty() {
            return Ok(());
        }
        if let Some(known) = self.ids.get(&details.image_digest) {
            details.image_id = known;
            return Ok(());
        }
        let mut digest = details.image_digest.clone();
        // An index leads to a manifest, and no further.
        for _ in 0..2 {
            let Some(blob) = self.blob(&digest).await? else { return Ok(()) };
            match serde_json::from_slice::<Manifest>(&blob).ok().and_then(Manifest::next) {
                Some(Next::Id(id)) => {
                    self.ids.put(&details.image_digest, &id);
                    details.image_id = id;
                    return Ok(());
                }
                Some(Next::Manifest(next)) => digest = next,
                None => return Ok(()),
            }
        }
        Ok(())
    }

    async fn blob(&self, digest: &str) -> Result<Option<Vec<u8>>, Failure> {
        let method = "containerd.services.content.v1.Content/Read";
        let request = ReadContentRequest { digest: digest.to_owned() };
        let read = async {
            let mut parts: Replies<ReadContentResponse> =
                self.channel.stream(method, self.header(), &request).await?;
            let mut blob = Vec::new();
            while let Some(part) = parts.next().await? {
                blob.extend_from_slice(&part.data);
                if blob.len() > MAX_MANIFEST {
                    return Err(Failure::Long);
                }
            }
            Ok(blob)
        };
        or_none(read.await)
    }
}

/// What is not there is no failure.
fn or_none<T>(reply: Result<T, Failure>) -> Result<Option<T>, Failure> {
    match reply {
        Ok(reply) => Ok(Some(reply)),
        Err(Failure::Grpc { code: NOT_FOUND, .. }) => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// What a container's own record tells.
fn details(container: Container) -> Details {
    let annotations = container.spec.map(|spec| annotations(&spec.value)).unwrap_or_default();
    let mut pod = Pod::of_labels(&container.labels);
    pod.add_annotations(&annotations);
    let name = if pod.container_name.is_empty() { &container.id } else { &pod.container_name };
    // CRI may note the image's id instead of its name.
    let (image_id, stored) = match container.image {
        id if id.starts_with("sha256:") => (id, String::new()),
        name => (String::new(), name),
    };
    Details {
        name: name.clone(),
        id: container.id,
        runtime: "containerd",
        image_name: kubernetes::image_name(&annotations).cloned().unwrap_or(stored),
        image_id,
        labels: container.labels,
        pod,
        ..Details::default()
    }
}

/// The annotations in an OCI runtime configuration; none if it cannot be read.
fn annotations(spec: &[u8]) -> BTreeMap<String, String> {
    #[derive(Deserialize)]
    struct Spec {
        annotations: Option<BTreeMap<String, String>>,
    }
    serde_json::from_slice::<Spec>(spec).ok().and_then(|spec| spec.annotations).unwrap_or_default()
}

/// Events, from the request for them on.
struct Events {
    asked: Option<JoinHandle<Result<Replies<Envelope>, Failure>>>,
    replies: Option<Replies<Envelope>>,
    /// When the daemon has surely heard the request: what started until then is listed once more.
    settled: Option<Pin<Box<Sleep>>>,
    only: String,
}

impl Events {
    async fn event(&mut self) -> Result<Option<Change>, Failure> {
        if let Some(asked) = &mut self.asked {
            let replies = asked.await.map_err(|_| Failure::Cut)??;
            (self.asked, self.replies) = (None, Some(replies));
        }
        let Some(replies) = &mut self.replies else { return Ok(None) };
        while let Some(envelope) = replies.next().await? {
            if envelope.namespace == DOCKER || !(self.only.is_empty() || self.only == envelope.namespace) {
                continue;
            }
            if let Some(id) = envelope.container()? {
                return Ok(Some(Change::One(format!("{}/{id}", envelope.namespace))));
            }
        }
        Ok(None)
    }
}

impl Changes for Events {
    fn next(&mut self) -> Answer<'_, Option<Change>> {
        Box::pin(async {
            let Some(mut settled) = self.settled.take() else { return self.event().await };
            // What either waits for is kept in its place if the other is first.
            tokio::select! {
                event = self.event() => {
                    self.settled = Some(settled);
                    event
                }
                () = &mut settled => Ok(Some(Change::All)),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pods_container_is_called_as_kubernetes_calls_it() {
        let spec = br#"{"ociVersion":"1.0.2","process":{"args":[1]},
            "annotations":{"io.kubernetes.cri.sandbox-id":"s","io.kubernetes.cri.image-name":"web:1"}}"#;
        let container = Container {
            id: "c".to_owned(),
            labels: [("io.kubernetes.container.name".to_owned(), "web".to_owned())].into(),
            image: "sha256:00".to_owned(),
            spec: Some(Any { type_url: String::new(), value: spec.to_vec() }),
        };
        let mut details = details(container);
        assert_eq!((details.name.as_str(), details.image_name.as_str()), ("web", "web:1"));
        assert_eq!((details.pod.sandbox_id.as_str(), details.image_id.as_str()), ("s", "sha256:00"));
        let target = |digest: &str| Some(Descriptor { digest: digest.to_owned() });
        Images::from(vec![
            Image { name: "web:1".to_owned(), target: target("sha256:d") },
            Image { name: "sha256:11".to_owned(), target: target("sha256:d") },
        ])
        .tell(&mut details);
        assert_eq!((details.image_digest.as_str(), details.image_id.as_str()), ("sha256:d", "sha256:11"));
    }

    #[test]
    fn a_configuration_that_cannot_be_read_has_no_annotations() {
        for spec in ["", "{", "[]", r#"{"annotations":null}"#, r#"{"annotations":{"a":1}}"#] {
            assert!(annotations(spec.as_bytes()).is_empty(), "{spec}");
        }
    }
}
