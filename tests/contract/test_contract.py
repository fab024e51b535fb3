import pytest
from builders import tiny_card

from mogface_batch.contract import INPUTS, OPTIONAL_OUTPUTS, OUTPUTS, ModelCard, TensorSpec, find_violations


def test_a_file_that_obeys_has_no_violation():
    assert find_violations(INPUTS, OUTPUTS) == ()
    assert find_violations(INPUTS, (*OUTPUTS, *OPTIONAL_OUTPUTS)) == ()


def test_free_dimensions_may_be_fixed_or_called_anything():
    inputs = [TensorSpec("images", "uint8", (8, 640, None, 3))]
    outputs = [TensorSpec("scores", "float32", ("n", 5000)), TensorSpec("boxes", "float32", (None, "k", 4))]

    assert find_violations(inputs, outputs) == ()


@pytest.mark.parametrize(
    ("inputs", "outputs", "sentences"),
    [
        pytest.param(
            [],
            [],
            ["input 'images' is missing", "output 'boxes' is missing", "output 'scores' is missing"],
            id="nothing",
        ),
        pytest.param(
            [TensorSpec("images", "float32", ("batch", "height", "width", 3))],
            OUTPUTS,
            ["input 'images' is float32 [batch, height, width, 3], not uint8 [batch, height, width, 3]"],
            id="dtype",
        ),
        pytest.param(
            [TensorSpec("images", "uint8", ("batch", 3, "height", "width"))],
            OUTPUTS,
            ["input 'images' is uint8 [batch, 3, height, width], not uint8 [batch, height, width, 3]"],
            id="channels-first",
        ),
        pytest.param(
            INPUTS,
            [OUTPUTS[0], TensorSpec("scores", "float32", (None, None, 1))],
            ["output 'scores' is float32 [?, ?, 1], not float32 [batch, candidates]"],
            id="rank",
        ),
        pytest.param(
            [*INPUTS, TensorSpec("threshold", "float32", ())],
            [*OUTPUTS, TensorSpec("landmarks", "float32", ("b", "k", 10))],
            [
                "input 'threshold' is not in the contract",
                "output 'landmarks' is float32 [b, k, 10], not float32 [batch, candidates, 5, 2]",
            ],
            id="two-at-once",
        ),
    ],
)
def test_every_violation_is_named_at_once(inputs, outputs, sentences):
    assert list(find_violations(inputs, outputs)) == sentences


def test_a_card_survives_the_way_through_metadata():
    card = tiny_card(
        levels="2-7", min_face_px=8.0, packages={"onnx": "1"}, parity={"max_px": 0.01, "ok": True}
    )

    assert ModelCard.from_metadata(card.to_metadata()) == (card, ())


def test_the_metadata_of_others_is_left_alone():
    card = tiny_card()

    assert ModelCard.from_metadata({"author": "somebody"} | card.to_metadata()) == (card, ())


@pytest.mark.parametrize("metadata", [{}, {"author": "somebody"}], ids=["none", "of-others"])
def test_a_file_without_a_card_says_so(metadata):
    card, wrong = ModelCard.from_metadata(metadata)

    assert card is None
    assert wrong == ("the file carries no model card (metadata_props without mogface_batch.* entries)",)


def test_every_wrong_field_of_an_edited_card_is_named():
    metadata = tiny_card().to_metadata() | {
        "mogface_batch.stride": "0",
        "mogface_batch.nms_iou": "1.5",
        "mogface_batch.contract_version": "2",
        "mogface_batch.colour": '"red"',
    }
    del metadata["mogface_batch.licence"]

    card, wrong = ModelCard.from_metadata(metadata)

    assert card is None
    assert sorted(sentence.split(": ")[1] for sentence in wrong) == [
        "colour",
        "contract_version",
        "licence",
        "nms_iou",
        "stride",
    ]


@pytest.mark.parametrize("text", ["", "abc", "1}", "[", "NaN", '1,"stride":2,"x":3'])
def test_a_card_with_a_broken_value_is_refused(text):
    card, wrong = ModelCard.from_metadata(tiny_card().to_metadata() | {"mogface_batch.stride": text})

    assert card is None
    assert wrong
