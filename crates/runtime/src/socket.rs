//! The seam between this process and the network: TCP, or the network of a simulation.
//!
//! Everything that listens or connects does it through [`Acceptor`] and [`Socket`]. With the feature
//! `simulated`, and in a thread that a simulation runs, they are turmoil's; else they are tokio's.
//!
//! # Invariants
//! - Without the feature each type has one form, and nothing is asked at run time.
//! - With it, a process outside of a simulation goes on with TCP: `cargo test --workspace` compiles the
//!   ordinary binaries with the feature, too.

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd as _, OwnedFd},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
};

/// More than any system queues for one listener by default.
const BACKLOG: usize = 4096;

/// A listening socket.
pub enum Acceptor {
    /// The operating system's.
    Tcp(TcpListener),
    /// A simulation's.
    #[cfg(feature = "simulated")]
    Simulated(turmoil::net::TcpListener),
}

/// One end of a connection.
#[derive(Debug)]
pub enum Socket {
    /// The operating system's.
    Tcp(TcpStream),
    /// A simulation's. Boxed: it is several times the size of the other, which alone should count.
    #[cfg(feature = "simulated")]
    Simulated(Box<turmoil::net::TcpStream>),
}

impl Acceptor {
    /// Binds `HOST:PORT`; port 0 takes a free one.
    ///
    /// # Errors
    /// Where the address does not resolve or is taken.
    pub async fn bind(address: &str) -> io::Result<Self> {
        #[cfg(feature = "simulated")]
        if is_simulated() {
            let listener = turmoil::net::TcpListener::bind(address).await?;
            return Ok(Self::Simulated(listener));
        }
        TcpListener::bind(address).await.map(Self::Tcp)
    }

    /// A socket that another process has bound and listens at.
    ///
    /// # Errors
    /// When it is no such socket.
    pub fn inherited(socket: OwnedFd) -> io::Result<Self> {
        if !rustix::net::sockopt::socket_acceptconn(&socket)? {
            let why = "a socket was left that does not listen";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let listener = std::net::TcpListener::from(socket);
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener).map(Self::Tcp)
    }

    /// The same socket once more, for another process.
    ///
    /// # Errors
    /// When there are no descriptors left; in a simulation, always.
    pub fn share(&self) -> io::Result<OwnedFd> {
        match self {
            Self::Tcp(listener) => listener.as_fd().try_clone_to_owned(),
            #[cfg(feature = "simulated")]
            Self::Simulated(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Waits for the next connection.
    ///
    /// # Errors
    /// What the operating system says.
    ///
    /// # Cancel safety
    /// No connection is lost when the future is dropped.
    pub async fn accept(&self) -> io::Result<(Socket, SocketAddr)> {
        match self {
            Self::Tcp(listener) => {
                let (socket, peer) = listener.accept().await?;
                Ok((Socket::Tcp(socket), peer))
            }
            #[cfg(feature = "simulated")]
            Self::Simulated(listener) => {
                let (socket, peer) = listener.accept().await?;
                Ok((Socket::Simulated(Box::new(socket)), peer))
            }
        }
    }

    /// Ends listening, and gives the connections that are there already: at most [`BACKLOG`].
    #[must_use]
    pub fn backlog(self) -> Vec<(Socket, SocketAddr)> {
        match self {
            Self::Tcp(listener) => {
                let Ok(listener) = listener.into_std() else {
                    return Vec::new();
                };
                // It never blocks, as tokio has set it: the first error is an empty queue.
                let waiting = std::iter::from_fn(|| listener.accept().ok()).take(BACKLOG);
                let taken = waiting.filter_map(|(socket, peer)| {
                    socket.set_nonblocking(true).ok()?;
                    Some((Socket::Tcp(TcpStream::from_std(socket).ok()?), peer))
                });
                taken.collect()
            }
            #[cfg(feature = "simulated")]
            Self::Simulated(_) => Vec::new(),
        }
    }

    /// The address that it is bound to, with the real port.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr(),
            #[cfg(feature = "simulated")]
            Self::Simulated(listener) => listener.local_addr(),
        }
    }
}

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Acceptor").field(&self.local_addr()).finish()
    }
}

impl Socket {
    /// Looks a name up and connects to it.
    ///
    /// # Errors
    /// Refused, unreachable, or the name does not resolve.
    pub async fn connect(host: &str, port: u16) -> io::Result<Self> {
        #[cfg(feature = "simulated")]
        if is_simulated() {
            let socket = turmoil::net::TcpStream::connect((host, port)).await?;
            return Ok(Self::Simulated(Box::new(socket)));
        }
        TcpStream::connect((host, port)).await.map(Self::Tcp)
    }

    /// Connects to one of these addresses, tried in order.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub async fn connect_at(addresses: &[SocketAddr]) -> io::Result<Self> {
        #[cfg(feature = "simulated")]
        if is_simulated() {
            let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
            for address in addresses {
                match turmoil::net::TcpStream::connect(*address).await {
                    Ok(socket) => return Ok(Self::Simulated(Box::new(socket))),
                    Err(error) => last = error,
                }
            }
            return Err(last);
        }
        TcpStream::connect(addresses).await.map(Self::Tcp)
    }

    /// Sends small writes at once: an event is a small write.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn set_nodelay(&self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.set_nodelay(true),
            #[cfg(feature = "simulated")]
            Self::Simulated(socket) => socket.set_nodelay(true),
        }
    }

    /// Has the kernel find dead peers: asks after this idle time, and then this often.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn keep_alive(&self, idle: Duration, every: Duration) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => {
                let alive = socket2::TcpKeepalive::new()
                    .with_time(idle)
                    .with_interval(every);
                socket2::SockRef::from(socket).set_tcp_keepalive(&alive)
            }
            #[cfg(feature = "simulated")]
            Self::Simulated(_) => Ok(()),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(io) => Pin::new(io).poll_read(cx, buf),
            #[cfg(feature = "simulated")]
            Self::Simulated(io) => Pin::new(io).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(io) => Pin::new(io).poll_write(cx, buf),
            #[cfg(feature = "simulated")]
            Self::Simulated(io) => Pin::new(io).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(io) => Pin::new(io).poll_write_vectored(cx, bufs),
            #[cfg(feature = "simulated")]
            Self::Simulated(io) => Pin::new(io).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(io) => io.is_write_vectored(),
            #[cfg(feature = "simulated")]
            Self::Simulated(io) => io.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(io) => Pin::new(io).poll_flush(cx),
            #[cfg(feature = "simulated")]
            Self::Simulated(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(io) => Pin::new(io).poll_shutdown(cx),
            #[cfg(feature = "simulated")]
            Self::Simulated(io) => Pin::new(io).poll_shutdown(cx),
        }
    }
}

/// Whether this thread is inside of a simulation.
#[must_use]
pub fn is_simulated() -> bool {
    #[cfg(feature = "simulated")]
    return turmoil::in_simulation();
    #[cfg(not(feature = "simulated"))]
    false
}
