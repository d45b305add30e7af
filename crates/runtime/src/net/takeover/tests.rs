//! Two generations in one process: what is handed over, and what is not.

use tempfile::TempDir;
use tokio::{join, net::TcpStream};

use super::*;

const ANY: &str = "127.0.0.1:0";

struct Old {
    folder: TempDir,
    main: Listener,
    offer: Offer,
}

impl Old {
    async fn serving() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let main = Listener::bind(ANY).await.unwrap();
        let mut offer = Offer::draft(&folder.path().join("x")).unwrap();
        offer.add("main", ANY, &main).unwrap();
        offer.publish().unwrap();
        Self {
            folder,
            main,
            offer,
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("x")
    }
}

async fn claimed(path: &Path) -> Heritage {
    Heritage::claim(path).await.unwrap().unwrap()
}

#[tokio::test]
async fn the_next_process_gets_the_sockets_and_the_first_learns_that_it_serves() {
    let mut old = Old::serving().await;
    let (path, addr) = (old.path(), old.main.local_addr());
    let next = async {
        let mut heritage = claimed(&path).await;
        assert!(heritage.take("admin", ANY).unwrap().is_none());
        let main = heritage.take("main", ANY).unwrap().unwrap();
        assert!(heritage.take("main", ANY).unwrap().is_none());
        assert_eq!(main.local_addr(), addr);
        heritage.serves().await.unwrap();
        main
    };
    let (main, ()) = join!(next, old.offer.taken());
    assert!(old.offer.is_taken());
    // In the kernel's queue while the first process closes its end, and after.
    let before = TcpStream::connect(addr).await.unwrap();
    drop(old.main);
    drop(old.offer);
    let after = TcpStream::connect(addr).await.unwrap();
    for client in [before, after] {
        let (_, peer) = main.socket.accept().await.unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
    }
    drop(main);
    assert!(TcpStream::connect(addr).await.is_err());
}

#[tokio::test]
async fn generations_serve_at_the_same_address_one_after_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    let mut first = Generation::begin(Some(&path)).await.unwrap();
    assert!(!first.is_next());
    let addr = first.bind("main", ANY).await.unwrap().local_addr();
    first.serves().await.unwrap();
    for _ in 0..2 {
        let next = async {
            let mut next = Generation::begin(Some(&path)).await.unwrap();
            assert!(next.is_next());
            let main = next.bind("main", ANY).await.unwrap();
            assert_eq!(main.local_addr(), addr);
            assert_ne!(next.bind("admin", ANY).await.unwrap().local_addr(), addr);
            next.serves().await.unwrap();
            next
        };
        let (next, ()) = join!(next, first.ends());
        assert!(first.has_ended() && !next.has_ended());
        first = next;
    }
    drop(first);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_next_process_that_dies_takes_nothing_with_it() {
    let mut old = Old::serving().await;
    let path = old.path();
    let two = async {
        drop(claimed(&path).await);
        claimed(&path).await.serves().await.unwrap();
    };
    join!(two, old.offer.taken());
}

#[tokio::test]
async fn a_socket_with_a_port_is_found_by_it_whatever_its_role() {
    let mut old = Old::serving().await;
    let address = old.main.local_addr().to_string();
    old.offer.add("agent:a", &address, &old.main).unwrap();
    let path = old.path();
    let next = async {
        let mut heritage = claimed(&path).await;
        assert!(heritage.take("agent:b", &address).unwrap().is_some());
        heritage.serves().await.unwrap();
    };
    join!(next, old.offer.taken());
}

#[tokio::test]
async fn a_file_that_nobody_listens_at_is_replaced_and_what_is_no_socket_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    assert!(Heritage::claim(&path).await.unwrap().is_none());
    drop(UnixListener::bind(&path).unwrap());
    assert!(Heritage::claim(&path).await.unwrap().is_none());
    let mut offer = Offer::draft(&path).unwrap();
    offer.publish().unwrap();
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    drop(offer);
    assert!(!path.exists(), "an offer ends with its process");

    fs::write(&path, "a letter").unwrap();
    let refused = Heritage::claim(&path).await.unwrap_err();
    assert!(refused.to_string().contains("no socket"), "{refused}");
    assert!(Offer::draft(&path).is_err());
    assert_eq!(fs::read_to_string(&path).unwrap(), "a letter");
}

#[tokio::test]
async fn an_offer_does_not_remove_the_file_of_another_one() {
    let old = Old::serving().await;
    let path = old.path();
    let mut other = Offer::draft(&path).unwrap();
    other.publish().unwrap();
    drop(old.offer);
    assert!(path.exists());
}

#[tokio::test]
async fn somebody_who_speaks_another_language_is_no_process_before_this_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    let other = UnixListener::bind(&path).unwrap();
    let speaking = async {
        let (mut socket, _) = other.accept().await.unwrap();
        socket.write_all(&[b'x'; 64]).await.unwrap();
    };
    let (claim, ()) = join!(Heritage::claim(&path), speaking);
    assert_eq!(claim.unwrap_err().kind(), io::ErrorKind::InvalidData);
}
