"""Records podpath's own contract as it is now: `python -m tests.contract.record_protos`.

Do this only for a change that old clients survive: something added.
"""

from tests.contract.test_apiserver_compat import SNAPSHOT, present


def main() -> None:
    head = "# podpath's own contracts as released. Lines are only added, never changed."
    SNAPSHOT.write_text("\n".join([head, *present()]) + "\n")
    print(f"recorded {len(present())} lines in {SNAPSHOT.name}")


if __name__ == "__main__":
    main()
