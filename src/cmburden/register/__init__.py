"""Volume in; transform to MNI152 and regions out."""
