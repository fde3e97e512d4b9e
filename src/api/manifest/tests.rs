//! What is encoded comes back, and what is damaged is refused.

use proptest::prelude::*;

use super::code::{MAGIC, number};
use super::*;

fn entry(path: &[u8], body: Body) -> Entry {
    Entry {
        path: path.to_vec(),
        mode: 0o644,
        body,
    }
}

fn file(path: &[u8]) -> Entry {
    let (size, mtime, fresh) = (3, -7, false);
    entry(path, Body::File { size, mtime, fresh })
}

fn tree(entries: Vec<Entry>) -> Manifest {
    let root = Root::Directory;
    Manifest { root, entries }
}

#[test]
fn names_that_lead_out_are_refused() {
    let link = || {
        entry(
            b"out",
            Body::Link {
                target: b"/tmp".to_vec(),
            },
        )
    };
    for entries in [
        vec![file(b"../evil")],
        vec![file(b"/etc/evil")],
        vec![file(b"a//b")],
        vec![file(b"")],
        vec![file(b"a\0b")],
        vec![file(b"a/b")],
        vec![link(), file(b"out/evil")],
        vec![file(b"b"), file(b"a")],
        vec![file(b"a"), file(b"a")],
        vec![entry(b"a", Body::Directory), file(b"a/..")],
    ] {
        let shown = format!("{entries:?}");
        assert!(
            Manifest::decode(&tree(entries).encode()).is_err(),
            "{shown}"
        );
    }
    let one = Manifest {
        root: Root::File,
        entries: vec![file(b"x")],
    };
    assert!(Manifest::decode(&one.encode()).is_err());
}

#[test]
fn a_cut_or_endless_text_is_an_error() {
    let whole = tree(vec![entry(b"a", Body::Directory), file(b"a/b")]).encode();
    for len in 0..whole.len() {
        assert!(Manifest::decode(&whole[..len]).is_err(), "{len}");
    }
    let mut huge = MAGIC.to_vec();
    huge.push(0);
    number(&mut huge, u64::MAX);
    assert!(Manifest::decode(&huge).is_err());
    assert!(Lacking::decode(&[5, 0, 0], 3).is_err());
    assert!(Record::read(&mut &[3, 9, 0][..], 3).is_err());
}

proptest! {
    #[test]
    fn what_is_encoded_comes_back(
        names in proptest::collection::btree_set("[a-z\\xff]{1,6}", 0..20),
        needs in proptest::collection::vec((any::<u64>(), any::<[u8; 32]>()), 0..9),
    ) {
        let mut entries = vec![entry(b"d", Body::Directory)];
        entries.extend(names.iter().map(|name| file(format!("d/{name}").as_bytes())));
        let manifest = tree(entries);
        prop_assert_eq!(&Manifest::decode(&manifest.encode()).expect("it is valid"), &manifest);
        let files = needs.iter().enumerate().map(|(index, (have, hash))| {
            let need = match have % 3 {
                0 => Need::Whole,
                1 => Need::Rest { have: *have, hash: *hash },
                _ => Need::Doubt(*hash),
            };
            (index, need)
        });
        let lacking = Lacking { files: files.collect() };
        prop_assert_eq!(&Lacking::decode(&lacking.encode(), 9).expect("it is valid"), &lacking);
    }

    #[test]
    fn noise_is_refused_without_harm(noise in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(noise);
        drop(Manifest::decode(&bytes));
        drop(Lacking::decode(&bytes, 10));
    }
}

#[test]
fn records_come_back() {
    let mut bytes = Vec::new();
    let records = [
        Record::Same(1),
        Record::File(2, 1 << 40),
        Record::Gone(0),
        Record::End,
    ];
    for record in records {
        record.write(&mut bytes).expect("memory");
    }
    write_piece(&mut bytes, b"text").expect("memory");
    let mut from = bytes.as_slice();
    for record in records {
        assert_eq!(Record::read(&mut from, 3).expect("it is there"), record);
    }
    let mut piece = Vec::new();
    read_piece(&mut from, &mut piece).expect("it is there");
    assert_eq!(piece, b"text");
}
