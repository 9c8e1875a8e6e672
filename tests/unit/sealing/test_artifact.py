"""A model's folder becomes an artifact, and is opened from it into memory: all of it, or nothing."""

import os
import shutil
from pathlib import Path

import msgspec
import pytest
from tests.doubles.changed_bytes import last_bit_flipped
from tests.doubles.plain_models import KEY, OTHER_KEY, SMALL, MemoryTarget, Watched, large, opened, write_model

from cloister.crypto.sealed_stream import HEADER_SIZE, SEGMENT
from cloister.errors import TooLarge, UsageError
from cloister.formats import canonical
from cloister.formats.sealed_artifact import parse_header
from cloister.sealing.artifact import open_artifact, seal_folder
from cloister.sealing.artifact_key import sealed_header
from cloister.sealing.refusal import ArtifactRefused


@pytest.fixture(scope="module")
def sealed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    seal_folder(write_model(folder / "plain", SMALL), folder / "sealed", name="small", key=KEY, progress=Watched())
    return folder / "sealed"


@pytest.fixture
def artifact(sealed, tmp_path):
    return Path(shutil.copytree(sealed, tmp_path / "artifact"))


def weights(artifact):
    """The sealed file of three segments."""
    files = [file.path for file in open_artifact(artifact).manifest.files]
    return artifact / "files" / f"{files.index('model.safetensors'):05}.sealed"


def header_with(artifact, change, key=KEY):
    """Write the header anew, as one who has `key` can, over a manifest that was changed."""
    header, manifest = parse_header((artifact / "artifact.cbor").read_bytes())
    changed = sealed_header(key, header.id, change(manifest))
    (artifact / "artifact.cbor").write_bytes(canonical.encode(changed))


def with_file(manifest, path, **fields):
    return msgspec.structs.replace(
        manifest,
        files=tuple(msgspec.structs.replace(file, **fields) if file.path == path else file for file in manifest.files),
    )


def test_what_was_sealed_is_opened(sealed):
    assert opened(sealed) == SMALL


def test_a_file_of_several_shards_is_opened(tmp_path):
    contents, progress = large(), Watched()
    plain = write_model(tmp_path / "plain", contents)
    seal_folder(plain, tmp_path / "sealed", name="large", key=KEY, progress=progress)
    assert opened(tmp_path / "sealed") == contents
    assert progress.done == progress.total == len(contents["weights.bin"])


def test_the_digest_is_the_plain_folders_whatever_the_key(sealed, tmp_path):
    plain = write_model(tmp_path / "plain", SMALL)
    again = seal_folder(plain, tmp_path / "sealed", name="small", key=OTHER_KEY, progress=Watched())
    artifact = open_artifact(tmp_path / "sealed")
    assert artifact.digest == again.digest() == open_artifact(sealed).digest


def test_nothing_of_a_file_is_in_the_artifact(sealed):
    stored = b"".join(file.read_bytes() for file in sealed.rglob("*") if file.is_file())
    assert b"weights weights" not in stored
    assert b"LlamaForCausalLM" not in stored


@pytest.mark.breaks("artifact.key")
def test_another_key_is_refused(sealed):
    with pytest.raises(ArtifactRefused, match=r"artifact\.key"):
        open_artifact(sealed).source(OTHER_KEY)


def test_a_key_of_another_length_is_refused(sealed):
    with pytest.raises(UsageError, match="32 bytes"):
        open_artifact(sealed).source(type(KEY)(bytes(31)))


@pytest.mark.breaks("artifact.header")
def test_a_header_that_was_altered_is_refused(artifact):
    place = artifact / "artifact.cbor"
    place.write_bytes(place.read_bytes().replace(b"config.json", b"donfig.json"))
    with pytest.raises(ArtifactRefused, match=r"artifact\.header"):
        open_artifact(artifact).source(KEY)


@pytest.mark.breaks("artifact.segment")
@pytest.mark.parametrize("at", [0, HEADER_SIZE - 1, HEADER_SIZE, HEADER_SIZE + 5, SEGMENT, 2 * SEGMENT + 9, -1])
def test_one_bit_flipped_is_refused(artifact, at):
    file = weights(artifact)
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)
    with pytest.raises(ArtifactRefused, match=r"artifact\.(segment|whole)"):
        opened(artifact)


def test_segments_in_another_order_are_refused(artifact):
    file = weights(artifact)
    content = file.read_bytes()
    first, second = content[SEGMENT : SEGMENT + 900_000], content[HEADER_SIZE : HEADER_SIZE + 900_000]
    file.write_bytes(
        content[:HEADER_SIZE] + first + content[HEADER_SIZE + 900_000 : SEGMENT] + second + content[SEGMENT + 900_000 :]
    )
    with pytest.raises(ArtifactRefused, match=r"artifact\.segment"):
        opened(artifact)


def test_a_segment_in_the_place_of_the_next_is_refused(artifact):
    file = weights(artifact)
    content = file.read_bytes()
    file.write_bytes(content[:SEGMENT] + content[: len(content) - SEGMENT])
    with pytest.raises(ArtifactRefused, match=r"artifact\.segment"):
        opened(artifact)


@pytest.mark.breaks("artifact.whole")
@pytest.mark.parametrize(
    "change",
    [
        lambda content: content[:-1],
        lambda content: content + b"x",
        lambda content: content + content[-SEGMENT:],
        lambda _: b"",
    ],
)
def test_a_file_that_was_cut_or_lengthened_is_refused_before_it_is_read(artifact, change):
    file = weights(artifact)
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(ArtifactRefused, match=r"artifact\.whole: model\.safetensors"):
        open_artifact(artifact)


def test_a_file_of_another_model_is_refused(artifact, tmp_path):
    plain = write_model(tmp_path / "other", SMALL)
    seal_folder(plain, tmp_path / "sealed", name="other", key=KEY, progress=Watched())
    shutil.copy(weights(tmp_path / "sealed"), weights(artifact))
    with pytest.raises(ArtifactRefused, match=r"artifact\.segment"):
        opened(artifact)


def test_two_files_that_changed_places_are_refused(tmp_path):
    plain = write_model(tmp_path / "plain", {"a.bin": b"a" * 100, "b.bin": b"b" * 100})
    seal_folder(plain, tmp_path / "sealed", name="two", key=KEY, progress=Watched())
    one, other = sorted((tmp_path / "sealed" / "files").iterdir())
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)
    with pytest.raises(ArtifactRefused, match=r"artifact\.segment: a\.bin"):
        opened(tmp_path / "sealed")


@pytest.mark.breaks("artifact.digest")
def test_what_the_manifest_does_not_say_is_refused_though_its_key_sealed_it(artifact):
    header_with(artifact, lambda manifest: with_file(manifest, "config.json", shards=bytes(32)))
    with pytest.raises(ArtifactRefused, match=r"artifact\.digest: config\.json"):
        opened(artifact)


def test_a_file_that_was_refused_is_never_said_to_be_whole(artifact):
    header_with(artifact, lambda manifest: with_file(manifest, "model.safetensors", shards=bytes(32)))
    source = open_artifact(artifact).source(KEY)
    targets = [MemoryTarget(size) for _, size in source.files]
    with pytest.raises(ArtifactRefused):
        source.open_into(iter(targets))
    assert [target.is_filled for target in targets] == [True, True, False, False]


def test_a_claim_of_ten_gibibytes_that_are_not_there_is_refused_before_work(artifact):
    size = 10 << 30
    header_with(artifact, lambda manifest: with_file(manifest, "config.json", size=size, shards=bytes(32 * 160)))
    with pytest.raises(ArtifactRefused, match=r"artifact\.whole: config\.json: \d+ bytes sealed"):
        open_artifact(artifact)


def test_an_empty_file_is_held_to_its_key_too(artifact):
    _, manifest = parse_header((artifact / "artifact.cbor").read_bytes())
    number = [file.path for file in manifest.files].index("empty.txt")
    place = artifact / "files" / f"{number:05}.sealed"
    place.write_bytes(last_bit_flipped(place.read_bytes()))
    with pytest.raises(ArtifactRefused, match=r"artifact\.segment: empty\.txt"):
        opened(artifact)


def test_a_link_in_the_place_of_a_sealed_file_is_refused(artifact, tmp_path):
    file = weights(artifact)
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ArtifactRefused, match=r"artifact\.whole"):
        open_artifact(artifact)


def test_a_pipe_in_the_place_of_a_sealed_file_is_refused_and_not_waited_for(artifact):
    file = weights(artifact)
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(ArtifactRefused, match="no plain file"):
        open_artifact(artifact)


def test_a_target_for_each_file_is_asked_for(sealed):
    source = open_artifact(sealed).source(KEY)
    with pytest.raises(ValueError, match="shorter"):
        source.open_into(iter([MemoryTarget(size) for _, size in source.files[:-1]]))


def test_few_files_are_held_at_a_time(tmp_path):
    plain = write_model(tmp_path / "plain", {f"{number:03}": b"x" for number in range(60)})
    seal_folder(plain, tmp_path / "sealed", name="many", key=KEY, progress=Watched())
    source = open_artifact(tmp_path / "sealed").source(KEY)
    targets = [MemoryTarget(1) for _ in source.files]
    held = []

    def taken():
        for number, target in enumerate(targets):
            held.append(sum(not one.is_filled for one in targets[:number]))
            yield target

    source.open_into(taken())
    assert max(held) <= 16


def test_a_folder_that_is_no_artifact_is_named(tmp_path):
    with pytest.raises(UsageError, match="no sealed artifact"):
        open_artifact(tmp_path)


def test_a_header_over_its_cap_is_not_read(tmp_path):
    with (tmp_path / "artifact.cbor").open("wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(TooLarge):
        open_artifact(tmp_path)
