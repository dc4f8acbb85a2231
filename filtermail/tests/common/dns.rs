//! A stand-in for a DNS server, on loopback, that says and does what a test tells it to: real servers
//! neither lie nor fall silent on demand. (The tests of whole relays ask a real server.)

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// What the server says of a name.
#[derive(Clone, Debug)]
pub enum Say {
    /// These TXT records, each cut into strings of at most 255 octets.
    Txt(u32, Vec<Vec<u8>>),
    /// These addresses (A and AAAA) and these MX records; other records it has none.
    Host(Vec<IpAddr>, Vec<(u16, String)>),
    /// That the name is another one's alias, and nothing else.
    Alias(u32, String),
    /// A response code without records: 0 for no such record, 2 SERVFAIL, 3 NXDOMAIN, 5 REFUSED.
    Code(u8),
    /// Nothing.
    Silence,
    /// A TXT record of another name than the one that was asked for.
    OfAnother(Vec<u8>),
    /// These octets in place of a message, but for the query's id.
    Octets(Vec<u8>),
    /// Over UDP "truncated", over TCP this.
    OverTcp(Box<Say>),
    /// This, once there is a permit.
    When(Arc<Semaphore>, Box<Say>),
}

impl Say {
    /// One TXT record with an hour to live.
    pub fn txt(record: &str) -> Self {
        Self::Txt(3600, vec![record.as_bytes().to_vec()])
    }

    /// A host at this address.
    pub fn address(address: impl Into<IpAddr>) -> Self {
        Self::Host(vec![address.into()], Vec::new())
    }

    /// A mail domain with these hosts; a `.` takes no mail (RFC 7505).
    pub fn mail_hosts(hosts: &[(u16, &str)]) -> Self {
        let hosts = hosts
            .iter()
            .map(|(preference, host)| (*preference, (*host).to_owned()));
        Self::Host(Vec::new(), hosts.collect())
    }
}

/// The running server; ends when dropped.
pub struct Dns {
    /// Where it listens, over UDP and TCP.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

#[derive(Default)]
struct Shared {
    zone: Mutex<HashMap<String, Say>>,
    asked: Mutex<Vec<String>>,
}

impl Dns {
    /// Starts a server that knows no names.
    pub async fn start() -> Self {
        let (udp, tcp) = sockets().await;
        let address = udp.local_addr().unwrap();
        let shared = Arc::<Shared>::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(serve_udp(Arc::new(udp), shared.clone()));
        tasks.spawn(serve_tcp(tcp, shared.clone()));
        Self {
            address,
            shared,
            _tasks: tasks,
        }
    }

    /// What to say of a name from now on.
    pub fn set(&self, name: &str, say: Say) {
        self.shared
            .zone
            .lock()
            .unwrap()
            .insert(name.to_owned(), say);
    }

    /// How often it was asked for this name.
    pub fn asked(&self, name: &str) -> usize {
        let asked = self.shared.asked.lock().unwrap();
        asked.iter().filter(|asked| *asked == name).count()
    }

    /// The line of chatmail.ini that names it.
    pub fn config_line(&self) -> String {
        format!("dns_servers = {}", self.address)
    }
}

/// UDP and TCP on one port.
async fn sockets() -> (UdpSocket, TcpListener) {
    for _ in 0..100 {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
            return (udp, tcp);
        }
    }
    panic!("no port is free for both UDP and TCP");
}

async fn serve_udp(socket: Arc<UdpSocket>, shared: Arc<Shared>) {
    let mut answers = JoinSet::new();
    let mut query = vec![0; 1500];
    while let Ok((length, client)) = socket.recv_from(&mut query).await {
        let (query, shared) = (query[..length].to_vec(), shared.clone());
        let socket = socket.clone();
        answers.spawn(async move {
            if let Some(answer) = shared.answer(&query, false).await {
                let _ = socket.send_to(&answer, client).await;
            }
        });
    }
}

async fn serve_tcp(listener: TcpListener, shared: Arc<Shared>) {
    let mut clients = JoinSet::new();
    while let Ok((mut stream, _)) = listener.accept().await {
        let shared = shared.clone();
        clients.spawn(async move {
            let served: io::Result<()> = async {
                loop {
                    let mut query = vec![0; stream.read_u16().await?.into()];
                    stream.read_exact(&mut query).await?;
                    if let Some(answer) = shared.answer(&query, true).await {
                        let length = u16::try_from(answer.len()).unwrap();
                        stream.write_u16(length).await?;
                        stream.write_all(&answer).await?;
                    }
                }
            }
            .await;
            drop(served);
        });
    }
}

impl Shared {
    async fn answer(&self, query: &[u8], over_tcp: bool) -> Option<Vec<u8>> {
        let (name, question) = question(query);
        self.asked.lock().unwrap().push(name.clone());
        let say = self.zone.lock().unwrap().get(&name).cloned();
        let mut say = say.unwrap_or(Say::Code(3));
        loop {
            say = match say {
                Say::When(permits, then) => {
                    permits.acquire().await.unwrap().forget();
                    *then
                }
                Say::OverTcp(then) if over_tcp => *then,
                say => break message(query, question, say),
            }
        }
    }
}

/// The name that is asked for, and the whole question.
fn question(query: &[u8]) -> (String, &[u8]) {
    let mut labels = Vec::new();
    let mut at = 12;
    while query[at] != 0 {
        let end = at + 1 + usize::from(query[at]);
        labels.push(String::from_utf8_lossy(&query[at + 1..end]).to_ascii_lowercase());
        at = end;
    }
    (labels.join("."), &query[12..at + 5])
}

/// The answer's octets (RFC 1035 section 4.1).
fn message(query: &[u8], question: &[u8], say: Say) -> Option<Vec<u8>> {
    const ASKED: &[u8] = &[0xC0, 12];
    let txt = |record: &Vec<u8>| {
        if record.is_empty() {
            return vec![0];
        }
        let strings = record.chunks(255);
        strings.fold(Vec::new(), |mut data, string| {
            data.push(u8::try_from(string.len()).unwrap());
            data.extend(string);
            data
        })
    };
    let (flags, records) = match say {
        Say::Silence => return None,
        Say::Octets(octets) => return Some([&query[..2], &octets].concat()),
        Say::OverTcp(_) => (0x8380_u16, Vec::new()),
        Say::Code(code) => (0x8180 | u16::from(code), Vec::new()),
        Say::Txt(ttl, texts) => {
            let records = texts.iter().map(|text| record(ASKED, 16, ttl, &txt(text)));
            (0x8180, records.collect())
        }
        Say::Host(addresses, hosts) => (0x8180, host_records(question, &addresses, &hosts)),
        Say::Alias(ttl, target) => (0x8180, vec![record(ASKED, 5, ttl, &wire(&target))]),
        Say::OfAnother(text) => {
            let other = wire("other.example");
            (0x8180, vec![record(&other, 16, 3600, &txt(&text))])
        }
        Say::When(..) => unreachable!(),
    };
    let mut message = query[..2].to_vec();
    message.extend(flags.to_be_bytes());
    for count in [1, records.len(), 0, 0] {
        message.extend(u16::try_from(count).unwrap().to_be_bytes());
    }
    message.extend(question);
    message.extend(records.concat());
    Some(message)
}

/// Those of the records that are asked for.
fn host_records(question: &[u8], addresses: &[IpAddr], hosts: &[(u16, String)]) -> Vec<Vec<u8>> {
    const ASKED: &[u8] = &[0xC0, 12];
    const A: u16 = 1;
    const MX: u16 = 15;
    const AAAA: u16 = 28;
    let addresses = addresses.iter().map(|address| match address {
        IpAddr::V4(address) => (A, address.octets().to_vec()),
        IpAddr::V6(address) => (AAAA, address.octets().to_vec()),
    });
    let hosts = hosts.iter().map(|(preference, host)| {
        let data = [&preference.to_be_bytes()[..], &wire(host)].concat();
        (MX, data)
    });
    let asked = &question[question.len() - 4..question.len() - 2];
    let records = addresses.chain(hosts);
    let records = records.filter(|(kind, _)| kind.to_be_bytes() == asked);
    records
        .map(|(kind, data)| record(ASKED, kind, 3600, &data))
        .collect()
}

fn record(name: &[u8], kind: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let mut record = name.to_vec();
    record.extend(kind.to_be_bytes());
    record.extend(1_u16.to_be_bytes());
    record.extend(ttl.to_be_bytes());
    record.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
    record.extend(data);
    record
}

fn wire(name: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        octets.push(u8::try_from(label.len()).unwrap());
        octets.extend(label.as_bytes());
    }
    octets.push(0);
    octets
}
