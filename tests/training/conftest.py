from tests.fixtures import loaded, model_folder, tiny_model  # noqa: F401
