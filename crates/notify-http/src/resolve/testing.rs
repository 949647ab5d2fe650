//! A name server on this machine, over UDP and TCP, which says what a test wants.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_resolver::config::{NameServerConfig, ResolverConfig};
use hickory_resolver::proto::op::{Message, MessageType};
use hickory_resolver::proto::rr::rdata::CNAME;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;

use super::{Names, System};
use crate::egress::Policy;

/// What a name server makes of a question that was put to it so often before;
/// nothing is no answer.
pub(crate) type Answering = dyn Fn(Message, usize) -> Option<Message> + Send + Sync;

pub(crate) struct NameServer {
    /// The names of a system that asks this server.
    pub(crate) names: Names,
    asked: Asked,
    _answering: JoinSet<()>,
}

/// How often each name was asked for, by type.
type Asked = Arc<Mutex<BTreeMap<(String, RecordType), usize>>>;

#[derive(Clone)]
struct Books {
    answering: Arc<Answering>,
    asked: Asked,
}

impl NameServer {
    /// A server, and a system that asks it unless `hosts`, its hosts file, knows the
    /// name.
    pub(crate) async fn start(
        hosts: &str,
        connect_timeout: Duration,
        policy: Policy,
        answering: impl Fn(Message, usize) -> Option<Message> + Send + Sync + 'static,
    ) -> Self {
        let (udp, tcp) = bind().await;
        let address = tcp.local_addr().unwrap();
        let books = Books {
            answering: Arc::new(answering),
            asked: Asked::default(),
        };
        let asked = Arc::clone(&books.asked);
        let mut tasks = JoinSet::new();
        tasks.spawn(answer_udp(udp, books.clone()));
        tasks.spawn(answer_tcp(tcp, books));
        let mut server = NameServerConfig::udp_and_tcp(address.ip());
        for connection in &mut server.connections {
            connection.port = address.port();
        }
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
        let system = System::fixed(hosts, config);
        Self {
            names: Names::of(system, connect_timeout, Arc::new(policy)),
            asked,
            _answering: tasks,
        }
    }

    /// How often this name was asked for.
    pub(crate) fn asked(&self, name: &str) -> usize {
        let asked = self.asked.lock().unwrap();
        let of_name = asked.iter().filter(|((asked, _), _)| asked == name);
        of_name.map(|(_, count)| count).sum()
    }

    /// How many questions there were.
    pub(crate) fn asked_altogether(&self) -> usize {
        self.asked.lock().unwrap().values().sum()
    }
}

impl Books {
    fn answer(&self, question: &[u8]) -> Option<Message> {
        let question = Message::from_vec(question).unwrap();
        let [query] = &question.queries[..] else {
            panic!("one question at a time")
        };
        let name = query.name().to_ascii().to_lowercase();
        let before = {
            let mut asked = self.asked.lock().unwrap();
            let count = asked.entry((name, query.query_type())).or_default();
            *count += 1;
            *count - 1
        };
        (self.answering)(question, before)
    }
}

/// An answer to `question` with these addresses, as far as they are of the kind that
/// was asked for. It is good for `ttl` seconds.
pub(crate) fn answer_with(question: Message, ttl: u32, addresses: &[IpAddr]) -> Message {
    let name = question.queries[0].name().clone();
    answer_below(question, name, ttl, addresses)
}

/// An answer that the name is another's (`CNAME`), and where that is.
pub(crate) fn answer_by_alias(question: Message, alias: &str, addresses: &[IpAddr]) -> Message {
    let name = question.queries[0].name().clone();
    let alias = Name::from_ascii(alias).unwrap();
    let mut answer = question;
    let data = RData::CNAME(CNAME(alias.clone()));
    answer.add_answer(Record::from_rdata(name, 60, data));
    answer_below(answer, alias, 60, addresses)
}

fn answer_below(mut answer: Message, name: Name, ttl: u32, addresses: &[IpAddr]) -> Message {
    answer.metadata.message_type = MessageType::Response;
    let wanted = answer.queries[0].query_type();
    for &address in addresses {
        let data: RData = address.into();
        if data.record_type() == wanted {
            answer.add_answer(Record::from_rdata(name.clone(), ttl, data));
        }
    }
    answer
}

/// Both at the same port.
async fn bind() -> (UdpSocket, TcpListener) {
    loop {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = tcp.local_addr().unwrap();
        if let Ok(udp) = UdpSocket::bind(address).await {
            return (udp, tcp);
        }
    }
}

async fn answer_udp(socket: UdpSocket, books: Books) {
    let mut bytes = [0; 2_048];
    while let Ok((length, from)) = socket.recv_from(&mut bytes).await {
        if let Some(mut answer) = books.answer(&bytes[..length]) {
            let mut bytes = answer.to_vec().unwrap();
            if bytes.len() > 1_232 {
                // It has to be asked for over TCP.
                answer.metadata.truncation = true;
                answer.answers.clear();
                bytes = answer.to_vec().unwrap();
            }
            socket.send_to(&bytes, from).await.unwrap();
        }
    }
}

async fn answer_tcp(listener: TcpListener, books: Books) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(answer_stream(stream, books.clone()));
    }
}

async fn answer_stream(mut stream: TcpStream, books: Books) {
    while let Ok(length) = stream.read_u16().await {
        let mut bytes = vec![0; length.into()];
        stream.read_exact(&mut bytes).await.unwrap();
        if let Some(answer) = books.answer(&bytes) {
            let bytes = answer.to_vec().unwrap();
            stream
                .write_u16(bytes.len().try_into().unwrap())
                .await
                .unwrap();
            stream.write_all(&bytes).await.unwrap();
        }
    }
}
