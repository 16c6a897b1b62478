from pathlib import Path

from flyweight.measure._energy import counters, used_uj


def zone(folder: Path, name: str, energy_uj: str, largest: str = "999") -> None:
    (folder / name).mkdir()
    (folder / name / "energy_uj").write_text(energy_uj + "\n")
    (folder / name / "max_energy_range_uj").write_text(largest + "\n")


def test_packages_are_read_and_their_parts_left_out(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", "100")
    zone(tmp_path, "intel-rapl:0:1", "40")  # a part of package 0, counted there
    zone(tmp_path, "intel-rapl:1", "7")
    assert counters(tmp_path) == {"intel-rapl:0": (100, 999), "intel-rapl:1": (7, 999)}


def test_a_counter_that_starts_anew_has_gone_round_once() -> None:
    before, after = {"a": (990, 999), "b": (1, 999)}, {"a": (5, 999), "b": (4, 999)}
    assert used_uj(before, after) == (5 + 1000 - 990) + 3  # 0 to 999 are 1000 values


def test_energy_is_absent_not_zero_where_nothing_can_be_read(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", "not a number")
    assert counters(tmp_path) == {}
    assert used_uj({}, {}) is None
