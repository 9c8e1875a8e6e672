import pytest

from cloister.sandbox.advice import advice


@pytest.fixture
def settings(tmp_path):
    """A kernel that allows user namespaces by every setting it has."""
    for name, value in (
        ("kernel/unprivileged_userns_clone", "1"),
        ("kernel/apparmor_restrict_unprivileged_userns", "0"),
        ("user/max_user_namespaces", "15000"),
    ):
        path = tmp_path / "sys" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")
    return tmp_path / "sys"


@pytest.fixture
def process(tmp_path):
    """A process on a kernel with user namespaces, without a filter."""
    (tmp_path / "self" / "ns").mkdir(parents=True)
    (tmp_path / "self" / "ns" / "user").touch()
    (tmp_path / "self" / "status").write_text("Name:\tpython\nSeccomp:\t0\n")
    return tmp_path / "self"


@pytest.mark.parametrize(
    ("name", "refusing", "allowing"),
    [
        ("kernel/unprivileged_userns_clone", "0", "1"),
        ("kernel/apparmor_restrict_unprivileged_userns", "1", "0"),
        ("user/max_user_namespaces", "0", "15000"),
    ],
)
def test_the_setting_that_refuses_is_named_with_the_command_that_allows(settings, process, name, refusing, allowing):
    (settings / name).write_text(f"{refusing}\n")
    key = name.replace("/", ".")
    assert f"{key} is {refusing}" in advice(settings, process)
    assert f"sysctl -w {key}={allowing}" in advice(settings, process)


def test_a_kernel_without_user_namespaces_is_named(settings, process):
    (process / "ns" / "user").unlink()
    assert "CONFIG_USER_NS" in advice(settings, process)


def test_a_containers_seccomp_filter_is_named(settings, process):
    (process / "status").write_text("Name:\tpython\nSeccomp:\t2\n")
    assert "--security-opt seccomp=unconfined" in advice(settings, process)


def test_where_no_cause_can_be_seen_it_says_what_to_try_and_names_no_package(settings, process):
    assert "unshare --user --map-root-user true" in advice(settings, process)
    assert "bubblewrap" not in advice(settings, process)
